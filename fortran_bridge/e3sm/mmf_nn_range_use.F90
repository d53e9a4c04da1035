!> How much the range policy of the package held the columns of a step. docs/range-policy.md says
!! when a run is alive on that support only.
module mmf_nn_range_use
  use climlink, only: climlink_emulator, climlink_status
  use shr_kind_mod, only: r8 => shr_kind_r8
  implicit none (type, external)
  private

  public :: range_use, ask_range_use

  type :: range_use
    real(r8), allocatable :: heating(:)                !! [column], without its sign [W/m2].
    real(r8), allocatable :: mass_share(:)             !! [column], relaxed, 0 to 1.
    real(r8), allocatable :: clipped(:)                !! [column], values the network sees clipped.
  end type range_use

contains

  !> Asks for all columns of the step, whose inputs are set. Nothing is allocated where the package
  !! has no such policy, or has it switched off.
  subroutine ask_range_use(emulator, n_column, use, status)
    type(climlink_emulator), intent(inout) :: emulator
    integer, intent(in) :: n_column
    type(range_use), intent(out) :: use
    type(climlink_status), intent(inout) :: status     !! Nothing is asked where it has failed.

    if (.not. (status%ok() .and. emulator%has_range_policy())) return
    allocate (use%heating(n_column), use%mass_share(n_column), use%clipped(n_column))
    call emulator%range_use(use%clipped, use%heating, use%mass_share, status)
  end subroutine ask_range_use

end module mmf_nn_range_use
