!> netCDF files of the hosts: new ones appear under their name whole or not at all, old ones are
!! checked before they are believed.
!!
!! Errors are texts that name the file and, where there is one, the variable; '' means none.
module netcdf_files
  use netcdf, only: nf90_64bit_data, nf90_clobber, nf90_close, nf90_create, nf90_def_var, &
                    nf90_inq_dimid, nf90_inquire_dimension, nf90_noerr, nf90_nofill, &
                    nf90_nowrite, nf90_open, nf90_put_att, nf90_set_fill, nf90_strerror, nf90_sync
  use classic_netcdf, only: check_length
  use climlink_files, only: remove_file, replace_file
  use climlink, only: climlink_status
  implicit none (type, external)
  private

  public :: netcdf_file, create_beside, put_in_place, complete, open_whole, close_file, &
            define_variable, find_dimension, attempt, problem

  !> What a file is called until it is whole: its name and this.
  character(len=*), parameter :: unfinished = '.part'

  !> Bytes that the library moves at once. Its own choice, a block of the file system (4096), halves
  !! the speed of writing.
  integer, parameter :: transfer_size = 65536

  type :: netcdf_file
    character(len=:), allocatable :: path    !! Final name.
    integer :: id = -1                       !! Of the netCDF library; -1: not open.
    logical :: is_new = .false.              !! Has not got its final name yet.
  end type netcdf_file

contains

  !> Begins a CDF-5 file beside its final name, in define mode. Values that are never written stay
  !! undefined.
  subroutine create_beside(path, file, error)
    character(len=*), intent(in) :: path                  !! Final name.
    type(netcdf_file), intent(out) :: file
    character(len=:), allocatable, intent(out) :: error
    integer :: old_mode, size_hint

    file%path = path
    file%is_new = .true.
    size_hint = transfer_size
    error = problem(path // unfinished, &
                    nf90_create(path // unfinished, ior(nf90_clobber, nf90_64bit_data), file%id, &
                                chunksize=size_hint))
    if (len(error) > 0) then
      file%id = -1
      call close_file(file)
    else
      call attempt(error, path, nf90_set_fill(file%id, nf90_nofill, old_mode))
    end if
  end subroutine create_beside

  !> Gives the file its final name, replacing what had it, and leaves it open for more records.
  !! After an error nothing is left.
  subroutine put_in_place(file, error)
    class(netcdf_file), intent(inout) :: file
    character(len=:), allocatable, intent(inout) :: error

    if (file%id == -1) return
    call attempt(error, file%path, nf90_sync(file%id))
    if (len(error) == 0) call rename_finished(file, error)
    if (len(error) > 0) call close_file(file)
  end subroutine put_in_place

  !> Closes the file and gives it its final name, replacing what had it; after an error nothing
  !! remains of it.
  subroutine complete(file, error)
    class(netcdf_file), intent(inout) :: file
    character(len=:), allocatable, intent(inout) :: error

    if (file%id == -1) return
    if (len(error) == 0) then
      call attempt(error, file%path, nf90_close(file%id))
      if (len(error) == 0) file%id = -1
    end if
    if (len(error) == 0) call rename_finished(file, error)
    if (len(error) > 0) call close_file(file)
  end subroutine complete

  subroutine rename_finished(file, error)
    class(netcdf_file), intent(inout) :: file
    character(len=:), allocatable, intent(inout) :: error
    type(climlink_status) :: status

    call replace_file(file%path // unfinished, file%path, status)
    file%is_new = .not. status%ok()
    if (file%is_new) error = status%message
  end subroutine rename_finished

  !> Opens a file for reading, or with another mode; one that is shorter than its header says is
  !! refused.
  subroutine open_whole(path, file, error, mode)
    character(len=*), intent(in) :: path
    type(netcdf_file), intent(out) :: file
    character(len=:), allocatable, intent(out) :: error
    integer, intent(in), optional :: mode
    integer :: how, size_hint

    size_hint = transfer_size
    how = nf90_nowrite
    if (present(mode)) how = mode
    file%path = path
    error = problem(path, nf90_open(path, how, file%id, size_hint))
    if (len(error) > 0) then
      file%id = -1
      return
    end if
    call check_length(path, error)
    if (len(error) > 0) call close_file(file)
  end subroutine open_whole

  !> Closes a file if it is open; one that has not got its final name is dropped. Without error,
  !! what fails there does not matter any more.
  subroutine close_file(file, error)
    class(netcdf_file), intent(inout) :: file
    character(len=:), allocatable, intent(inout), optional :: error
    integer :: code

    code = nf90_noerr
    if (file%id /= -1) code = nf90_close(file%id)
    file%id = -1
    if (file%is_new) call remove_file(file%path // unfinished)
    file%is_new = .false.
    if (present(error)) call attempt(error, file%path, code)
  end subroutine close_file

  !> Defines a variable with its long name and units. The file is in define mode.
  subroutine define_variable(file, name, kind_of_number, dimensions, variable, error, long_name, &
                             units)
    class(netcdf_file), intent(in) :: file
    character(len=*), intent(in) :: name
    integer, intent(in) :: kind_of_number, dimensions(:)
    integer, intent(out) :: variable
    character(len=:), allocatable, intent(inout) :: error
    character(len=*), intent(in) :: long_name
    character(len=*), intent(in), optional :: units

    call attempt(error, file%path, &
                 nf90_def_var(file%id, name, kind_of_number, dimensions, variable), name)
    call attempt(error, file%path, nf90_put_att(file%id, variable, 'long_name', long_name), name)
    if (.not. present(units)) return
    call attempt(error, file%path, nf90_put_att(file%id, variable, 'units', units), name)
  end subroutine define_variable

  !> Finds a dimension of a file and its length.
  subroutine find_dimension(file, name, length, error, dimension_id)
    class(netcdf_file), intent(in) :: file
    character(len=*), intent(in) :: name
    integer, intent(out) :: length
    character(len=:), allocatable, intent(inout) :: error
    integer, intent(out), optional :: dimension_id
    integer :: id

    length = 0
    call attempt(error, file%path, nf90_inq_dimid(file%id, name, id), 'dimension ' // name)
    call attempt(error, file%path, nf90_inquire_dimension(file%id, id, len=length), &
                 'dimension ' // name)
    if (present(dimension_id)) dimension_id = id
  end subroutine find_dimension

  !> Keeps the first error of a sequence of calls.
  subroutine attempt(error, path, code, name)
    character(len=:), allocatable, intent(inout) :: error
    character(len=*), intent(in) :: path
    integer, intent(in) :: code
    character(len=*), intent(in), optional :: name

    if (len(error) == 0) error = problem(path, code, name)
  end subroutine attempt

  !> The text of a netCDF failure, '' if there is none.
  function problem(path, code, name) result(error)
    character(len=*), intent(in) :: path
    integer, intent(in) :: code
    character(len=*), intent(in), optional :: name
    character(len=:), allocatable :: error

    error = ''
    if (code == nf90_noerr) return
    error = path // ': '
    if (present(name)) error = error // name // ': '
    error = error // trim(nf90_strerror(code))
  end function problem

end module netcdf_files
