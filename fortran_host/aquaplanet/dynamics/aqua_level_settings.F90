!> Settings of the levels: their coefficients at interfaces.
module aqua_level_settings
  use aqua_constants, only: r8
  use aqua_levels, only: hybrid_levels, make_levels
  use host_namelists, only: namelist_group, namelist_unit
  implicit none (type, external)
  private

  public :: level_settings

  integer, parameter :: max_interfaces = 201

  !> Group &levels.
  type, extends(namelist_group) :: level_settings
    real(r8) :: p0 = 1.0e5_r8                     !! [Pa]
    real(r8) :: hyai(max_interfaces) = -1.0_r8    !! Interface coefficients, top down; -1 is unused.
    real(r8) :: hybi(max_interfaces) = -1.0_r8
  contains
    procedure :: transfer, make
  end type level_settings

contains

  subroutine transfer(self, file)
    class(level_settings), intent(inout), target :: self
    type(namelist_unit), intent(inout) :: file
    real(r8), pointer :: p0, hyai(:), hybi(:)
    namelist /levels/ p0, hyai, hybi

    p0 => self%p0
    hyai => self%hyai
    hybi => self%hybi
    if (file%writing) then
      write (file%unit, nml=levels, iostat=file%failed, iomsg=file%message)
    else
      read (file%unit, nml=levels, iostat=file%failed, iomsg=file%message)
    end if
  end subroutine transfer

  !> Makes the levels. error is '' or says what is wrong with the coefficients.
  subroutine make(self, levels, error)
    class(level_settings), intent(in) :: self
    type(hybrid_levels), intent(inout) :: levels
    character(len=:), allocatable, intent(out) :: error
    integer :: n

    n = findloc(self%hyai >= 0.0_r8, .true., dim=1, back=.true.)
    if (n == max_interfaces) then
      error = 'hyai has too many interfaces'
    else
      call make_levels(self%hyai(:n), self%hybi(:n), self%p0, levels, error)
    end if
    if (len(error) > 0) error = '/levels/ ' // error
  end subroutine make

end module aqua_level_settings
