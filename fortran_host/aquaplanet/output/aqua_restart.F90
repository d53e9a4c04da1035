!> Restart files: named arrays in full precision, and what they belong to. CDF-5, float64: the same
!! state gives the same bytes.
!!
!!     call file%create(path, identity, error)         call file%open(path, identity, error)
!!     call file%put(name, value, error)               call file%get(name, value, error)
!!     call complete(file, error)                      call close_file(file)
!!
!! value is an array of rank 1 to 3 or a number, real(r8), or an integer or a text. A file appears
!! under its name whole or not at all, so an older one stays good until then.
module aqua_restart
  use netcdf, only: nf90_def_dim, nf90_def_var, nf90_double, nf90_enddef, nf90_get_att, &
                    nf90_get_var, nf90_global, nf90_inq_dimid, nf90_inq_varid, &
                    nf90_inquire_attribute, nf90_inquire_dimension, nf90_inquire_variable, &
                    nf90_max_var_dims, nf90_noerr, nf90_put_att, nf90_put_var, nf90_redef
  use aqua_constants, only: r8
  use netcdf_files, only: attempt, close_file, create_beside, netcdf_file, open_whole, problem
  implicit none (type, external)
  private

  public :: restart_file, restart_identity

  !> Changes whenever what the model keeps changes its meaning.
  integer, parameter :: format_version = 1
  character(len=*), parameter :: version_name = 'climlink_aquaplanet_restart'
  ! bytes for variables that are yet to come: adding one moves no data
  integer, parameter :: header_reserve = 65536

  !> What a restart must fit.
  type :: restart_identity
    character(len=:), allocatable :: configuration     !! Of the case, such as its digest.
    integer :: truncation = 0
    integer :: n_level = 0
  end type restart_identity

  !> Ends with complete, or close_file.
  type, extends(netcdf_file) :: restart_file
  contains
    procedure :: create
    procedure :: open => open_restart
    procedure, private :: put_integer, put_text, put_0d, put_1d, put_2d, put_3d
    generic :: put => put_integer, put_text, put_0d, put_1d, put_2d, put_3d
    procedure, private :: get_integer, get_text, get_0d, get_1d, get_2d, get_3d
    generic :: get => get_integer, get_text, get_0d, get_1d, get_2d, get_3d
    procedure :: length
    procedure, private :: define, find, refuse_other, compare
  end type restart_file

contains

  subroutine create(self, path, identity, error)
    class(restart_file), intent(inout) :: self
    character(len=*), intent(in) :: path
    type(restart_identity), intent(in) :: identity
    character(len=:), allocatable, intent(out) :: error

    call create_beside(path, self%netcdf_file, error)
    if (len(error) > 0) return
    call attempt(error, path, nf90_put_att(self%id, nf90_global, version_name, format_version))
    call attempt(error, path, nf90_put_att(self%id, nf90_global, 'configuration', &
                                           identity%configuration))
    call attempt(error, path, nf90_put_att(self%id, nf90_global, 'truncation', identity%truncation))
    call attempt(error, path, nf90_put_att(self%id, nf90_global, 'n_level', identity%n_level))
    call attempt(error, path, nf90_enddef(self%id, header_reserve, 4, 0, 4))
    if (len(error) > 0) call close_file(self)
  end subroutine create

  !> Opens a restart and refuses one that is truncated, of another program, or of another case.
  subroutine open_restart(self, path, identity, error)
    class(restart_file), intent(inout) :: self
    character(len=*), intent(in) :: path
    type(restart_identity), intent(in) :: identity
    character(len=:), allocatable, intent(out) :: error

    call open_whole(path, self%netcdf_file, error)
    if (len(error) == 0) call self%refuse_other(identity, error)
    if (len(error) > 0) call close_file(self)
  end subroutine open_restart

  subroutine refuse_other(self, identity, error)
    class(restart_file), intent(inout) :: self
    type(restart_identity), intent(in) :: identity
    character(len=:), allocatable, intent(inout) :: error
    character(len=:), allocatable :: configuration

    if (nf90_inquire_attribute(self%id, nf90_global, version_name) /= nf90_noerr) then
      error = self%path // ': this is not a restart of climlink-aquaplanet'
    end if
    call self%compare(version_name, 'format version', format_version, error)
    call self%compare('truncation', 'truncation', identity%truncation, error)
    call self%compare('n_level', 'number of levels', identity%n_level, error)
    call self%get('configuration', configuration, error)
    if (len(error) == 0 .and. configuration /= identity%configuration) then
      error = self%path // ": the restart was written by another configuration: it carries '" &
              // configuration // "', this case is '" // identity%configuration // "'"
    end if
  end subroutine refuse_other

  !> Refuses a restart whose number of that name is not the expected one; what is the message's word
  !! for it. After an error nothing happens.
  subroutine compare(self, name, what, expected, error)
    class(restart_file), intent(inout) :: self
    character(len=*), intent(in) :: name, what
    integer, intent(in) :: expected
    character(len=:), allocatable, intent(inout) :: error
    character(len=80) :: text
    integer :: found

    call self%get(name, found, error)
    if (len(error) > 0 .or. found == expected) return
    write (text, '(a,i0,a,i0)') ' is ', found, ', this case needs ', expected
    error = self%path // ": the restart's " // what // trim(text)
  end subroutine compare

  subroutine put_integer(self, name, value, error)
    class(restart_file), intent(inout) :: self
    character(len=*), intent(in) :: name
    integer, intent(in) :: value
    character(len=:), allocatable, intent(inout) :: error

    call attempt(error, self%path, nf90_redef(self%id), name)
    call attempt(error, self%path, nf90_put_att(self%id, nf90_global, name, value), name)
    call attempt(error, self%path, nf90_enddef(self%id), name)
  end subroutine put_integer

  subroutine put_text(self, name, value, error)
    class(restart_file), intent(inout) :: self
    character(len=*), intent(in) :: name, value
    character(len=:), allocatable, intent(inout) :: error

    call attempt(error, self%path, nf90_redef(self%id), name)
    call attempt(error, self%path, nf90_put_att(self%id, nf90_global, name, value), name)
    call attempt(error, self%path, nf90_enddef(self%id), name)
  end subroutine put_text

  subroutine put_0d(self, name, value, error)
    class(restart_file), intent(inout) :: self
    character(len=*), intent(in) :: name
    real(r8), intent(in) :: value
    character(len=:), allocatable, intent(inout) :: error

    call self%put(name, [value], error)
  end subroutine put_0d

  subroutine put_1d(self, name, value, error)
    class(restart_file), intent(inout) :: self
    character(len=*), intent(in) :: name
    real(r8), intent(in) :: value(:)
    character(len=:), allocatable, intent(inout) :: error
    integer :: variable

    call self%define(name, shape(value), variable, error)
    if (size(value) > 0) call attempt(error, self%path, &
                                      nf90_put_var(self%id, variable, value), name)
  end subroutine put_1d

  subroutine put_2d(self, name, value, error)
    class(restart_file), intent(inout) :: self
    character(len=*), intent(in) :: name
    real(r8), intent(in) :: value(:, :)
    character(len=:), allocatable, intent(inout) :: error
    integer :: variable

    call self%define(name, shape(value), variable, error)
    if (size(value) > 0) call attempt(error, self%path, &
                                      nf90_put_var(self%id, variable, value), name)
  end subroutine put_2d

  subroutine put_3d(self, name, value, error)
    class(restart_file), intent(inout) :: self
    character(len=*), intent(in) :: name
    real(r8), intent(in) :: value(:, :, :)
    character(len=:), allocatable, intent(inout) :: error
    integer :: variable

    call self%define(name, shape(value), variable, error)
    if (size(value) > 0) call attempt(error, self%path, &
                                      nf90_put_var(self%id, variable, value), name)
  end subroutine put_3d

  !> Defines a variable on dimensions that are called after their lengths. An empty array is left
  !! out, but for its dimensions.
  subroutine define(self, name, extents, variable, error)
    class(restart_file), intent(inout) :: self
    character(len=*), intent(in) :: name
    integer, intent(in) :: extents(:)
    integer, intent(out) :: variable
    character(len=:), allocatable, intent(inout) :: error
    character(len=16) :: dimension_name
    integer :: dimensions(size(extents)), i

    variable = -1
    if (any(extents == 0)) return
    call attempt(error, self%path, nf90_redef(self%id), name)
    do i = 1, size(extents)
      write (dimension_name, '(a,i0)') 'n', extents(i)
      if (nf90_inq_dimid(self%id, trim(dimension_name), dimensions(i)) == nf90_noerr) cycle
      call attempt(error, self%path, &
                   nf90_def_dim(self%id, trim(dimension_name), extents(i), dimensions(i)), &
                   name)
    end do
    call attempt(error, self%path, &
                 nf90_def_var(self%id, name, nf90_double, dimensions, variable), name)
    call attempt(error, self%path, nf90_enddef(self%id), name)
  end subroutine define

  subroutine get_integer(self, name, value, error)
    class(restart_file), intent(inout) :: self
    character(len=*), intent(in) :: name
    integer, intent(out) :: value
    character(len=:), allocatable, intent(inout) :: error

    value = 0
    call attempt(error, self%path, nf90_get_att(self%id, nf90_global, name, value), name)
  end subroutine get_integer

  subroutine get_text(self, name, value, error)
    class(restart_file), intent(inout) :: self
    character(len=*), intent(in) :: name
    character(len=:), allocatable, intent(out) :: value
    character(len=:), allocatable, intent(inout) :: error
    integer :: length_of_text

    value = ''
    call attempt(error, self%path, &
                 nf90_inquire_attribute(self%id, nf90_global, name, len=length_of_text), name)
    if (len(error) > 0) return
    value = repeat(' ', length_of_text)
    if (length_of_text > 0) call attempt(error, self%path, &
                                         nf90_get_att(self%id, nf90_global, name, value), name)
  end subroutine get_text

  subroutine get_0d(self, name, value, error)
    class(restart_file), intent(inout) :: self
    character(len=*), intent(in) :: name
    real(r8), intent(out) :: value
    character(len=:), allocatable, intent(inout) :: error
    real(r8) :: values(1)

    call self%get(name, values, error)
    value = values(1)
  end subroutine get_0d

  subroutine get_1d(self, name, value, error)
    class(restart_file), intent(inout) :: self
    character(len=*), intent(in) :: name
    real(r8), intent(out) :: value(:)
    character(len=:), allocatable, intent(inout) :: error
    integer :: variable

    value = 0.0_r8
    call self%find(name, shape(value), variable, error)
    if (variable /= -1) call attempt(error, self%path, &
                                     nf90_get_var(self%id, variable, value), name)
  end subroutine get_1d

  subroutine get_2d(self, name, value, error)
    class(restart_file), intent(inout) :: self
    character(len=*), intent(in) :: name
    real(r8), intent(out) :: value(:, :)
    character(len=:), allocatable, intent(inout) :: error
    integer :: variable

    value = 0.0_r8
    call self%find(name, shape(value), variable, error)
    if (variable /= -1) call attempt(error, self%path, &
                                     nf90_get_var(self%id, variable, value), name)
  end subroutine get_2d

  subroutine get_3d(self, name, value, error)
    class(restart_file), intent(inout) :: self
    character(len=*), intent(in) :: name
    real(r8), intent(out) :: value(:, :, :)
    character(len=:), allocatable, intent(inout) :: error
    integer :: variable

    value = 0.0_r8
    call self%find(name, shape(value), variable, error)
    if (variable /= -1) call attempt(error, self%path, &
                                     nf90_get_var(self%id, variable, value), name)
  end subroutine get_3d

  !> Length of an array of rank 1 in an opened file, 0 if there is none of that name.
  function length(self, name) result(n)
    class(restart_file), intent(in) :: self
    character(len=*), intent(in) :: name
    integer :: n
    integer :: variable, dimensions(nf90_max_var_dims)

    n = 0
    if (nf90_inq_varid(self%id, name, variable) /= nf90_noerr) return
    if (nf90_inquire_variable(self%id, variable, dimids=dimensions) /= nf90_noerr) return
    if (nf90_inquire_dimension(self%id, dimensions(1), len=n) /= nf90_noerr) n = 0
  end function length

  !> Finds a variable and compares its shape; variable is -1 after an error, and for an empty array.
  subroutine find(self, name, extents, variable, error)
    class(restart_file), intent(in) :: self
    character(len=*), intent(in) :: name
    integer, intent(in) :: extents(:)
    integer, intent(out) :: variable
    character(len=:), allocatable, intent(inout) :: error
    integer :: dimensions(nf90_max_var_dims), n_dimension, found(size(extents)), i
    logical :: fits
    character(len=80) :: text

    variable = -1
    if (any(extents == 0) .or. len(error) > 0) return
    error = problem(self%path, nf90_inq_varid(self%id, name, variable), name)
    call attempt(error, self%path, &
                 nf90_inquire_variable(self%id, variable, ndims=n_dimension, &
                                       dimids=dimensions), name)
    if (len(error) == 0) then
      fits = n_dimension == size(extents)
      do i = 1, merge(n_dimension, 0, fits)
        call attempt(error, self%path, &
                     nf90_inquire_dimension(self%id, dimensions(i), len=found(i)), name)
      end do
      if (fits) fits = all(found == extents)
      if (.not. fits .and. len(error) == 0) then
        write (text, '(*(i0,:," x "))') extents
        error = self%path // ': ' // name &
          // ': the array has another shape than this case needs, ' // trim(text)
      end if
    end if
    if (len(error) > 0) variable = -1
  end subroutine find

end module aqua_restart
