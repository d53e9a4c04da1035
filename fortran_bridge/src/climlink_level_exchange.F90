!> Profiles between a host and a package on other levels. For climlink_host_tables.
module climlink_level_exchange
  use, intrinsic :: iso_fortran_env, only: real64
  use climlink_emulators, only: climlink_emulator
  use climlink_errors, only: climlink_status
  use climlink_vertical_remap, only: climlink_remap
  implicit none (type, external)
  private

  public :: host_levels, to_package, midpoints, get_remapped, keep_positive

  !> Where the host's levels are, and the package's grid.
  type :: host_levels
    type(climlink_remap), pointer :: remap => null()           !! Not associated: the same levels.
    real(real64), pointer :: p_interface(:, :) => null()       !! [sample, host level + 1], Pa
  contains
    procedure :: differ
    procedure :: number
  end type host_levels

contains

  !> Whether a variable of these dims is remapped.
  pure function differ(self, dims) result(yes)
    class(host_levels), intent(in) :: self
    character(len=*), intent(in) :: dims(:)
    logical :: yes

    yes = associated(self%remap)
    if (yes) yes = any(dims == 'level')
  end function differ

  !> Levels of the host.
  pure function number(self) result(n)
    class(host_levels), intent(in) :: self
    integer :: n

    n = size(self%p_interface, 2) - 1
  end function number

  !> Means of the package's layers [sample, package level] of a profile [sample, host level].
  subroutine to_package(levels, values, remapped, status)
    type(host_levels), intent(in) :: levels
    real(real64), intent(in) :: values(:, :)
    real(real64), intent(out) :: remapped(:, :)
    type(climlink_status), intent(inout) :: status             !! No error before.

    call levels%remap%to_package(levels%p_interface(:size(values, 1), :), values, remapped, status)
  end subroutine to_package

  !> Pressures [Pa] at the midpoints of the package's levels [sample, package level].
  subroutine midpoints(levels, pressure, status)
    type(host_levels), intent(in) :: levels
    real(real64), intent(out) :: pressure(:, :)
    type(climlink_status), intent(inout) :: status             !! No error before.

    call levels%remap%package_midpoints(levels%p_interface(:size(pressure, 1), :), pressure, status)
  end subroutine midpoints

  !> Gets an output [sample, host level], with the same sum of value * dp as in the package's
  !! layers.
  subroutine get_remapped(levels, emulator, name, values, first, status)
    type(host_levels), intent(in) :: levels
    type(climlink_emulator), intent(in) :: emulator
    character(len=*), intent(in) :: name
    real(real64), intent(out) :: values(:, :)
    integer, intent(in) :: first
    type(climlink_status), intent(inout) :: status             !! No error before.
    real(real64) :: given(size(values, 1), levels%remap%package_levels())

    values = 0.0_real64
    call emulator%get(name, given, first, status)
    if (status%ok()) then
      call levels%remap%to_host(levels%p_interface(:size(values, 1), :), given, values, status)
    end if
  end subroutine get_remapped

  !> Keeps a species from falling below 0 where only the remap would make it so: what is missing
  !! comes from the neighbouring layers. unfilled [sample] is what the whole column could not give
  !! [kg/kg Pa].
  subroutine keep_positive(levels, q, time_step, tendency, status)
    type(host_levels), intent(in) :: levels
    real(real64), intent(in) :: q(:, :)                        !! [sample, host level], kg/kg
    real(real64), intent(in) :: time_step                      !! [s]
    real(real64), intent(inout) :: tendency(:, :)              !! [sample, host level], kg/kg/s
    type(climlink_status), intent(inout) :: status             !! No error before.
    real(real64) :: moved(size(q, 1)), unfilled(size(q, 1))

    call levels%remap%keep_positive(levels%p_interface(:size(q, 1), :), q, time_step, tendency, &
                                    moved, unfilled, status)
  end subroutine keep_positive

end module climlink_level_exchange
