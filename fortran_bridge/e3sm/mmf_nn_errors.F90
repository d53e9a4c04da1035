!> How the adapter ends the model, with one message from one rank, how the master's settings reach
!! the other ranks, and how their sums reach the master.
module mmf_nn_errors
  use cam_abortutils, only: endrun
  use climlink, only: climlink_error_group, climlink_status
  use mpishorthand, only: mpichar, mpicom, mpir8
  use shr_kind_mod, only: r8 => shr_kind_r8
  use spmd_utils, only: iam, masterproc, npes
  implicit none (type, external)
  private

  public :: stop_here, stop_together, stop_if_failed, stop_if_any_failed, share_integers, &
            share_text, sum_on_master

  external :: mpiallmaxint, mpibcast, mpisum

contains

  !> Ends the model from this rank.
  subroutine stop_here(message)
    character(len=*), intent(in) :: message

    call endrun('mmf_nn_emulator: ' // message)
  end subroutine stop_here

  !> Ends the model where all ranks know the error: the master says it, the others wait for what it
  !! never sends and are ended.
  subroutine stop_together(message)
    character(len=*), intent(in) :: message
    character(len=1) :: nothing(1)

    if (masterproc) call stop_here(message)
    call share_bytes(nothing)
  end subroutine stop_together

  !> Ends the model from this rank if the status is an error.
  subroutine stop_if_failed(status, context)
    type(climlink_status), intent(in) :: status
    character(len=*), intent(in) :: context       !! What was being done; '' if the message says it.

    if (.not. status%ok()) call stop_here(context // status%message)
  end subroutine stop_if_failed

  !> Ends the model if the status of any rank is an error: the lowest of these ranks says it, the
  !! others wait to be ended. Collective; where a rank is gone, whoever knows ends the
  !! model.
  subroutine stop_if_any_failed(status)
    type(climlink_status), intent(in) :: status
    integer :: mine(1), first(1)

    if (status%code == climlink_error_group) call stop_here(status%message)
    mine = 0
    if (.not. status%ok()) mine = npes - iam                 ! the lower the rank, the larger
    first = largest(mine)
    if (first(1) == 0) return
    if (all(mine == first)) call stop_here(status%message)
    mine = largest(mine)                                     ! the rank that stops never comes here
  end subroutine stop_if_any_failed

  !> The largest numbers of all ranks.
  function largest(numbers) result(over_ranks)
    integer, intent(in) :: numbers(:)
    integer :: over_ranks(size(numbers))

    over_ranks = numbers
#ifdef SPMD
    call mpiallmaxint(numbers, over_ranks, size(numbers), mpicom)
#endif
  end function largest

  ! Everything is broadcast as characters: E3SM's mpibcast has no interface, and a compiler that
  ! sees calls with several types in one file takes the second for an error.

  !> Gives all ranks the master's integers.
  subroutine share_integers(values)
    integer, intent(inout) :: values(:)
    character(len=1) :: bytes(size(transfer(values, ['a'])))

    bytes = transfer(values, bytes)
    call share_bytes(bytes)
    values = transfer(bytes, values)
  end subroutine share_integers

  !> Gives all ranks the master's text.
  subroutine share_text(values)
    character(len=*), intent(inout) :: values(:)
    character(len=1) :: bytes(size(transfer(values, ['a'])))

    bytes = transfer(values, bytes)
    call share_bytes(bytes)
    values = transfer(bytes, values)
  end subroutine share_text

  subroutine share_bytes(bytes)
    character(len=1), intent(inout) :: bytes(:)

#ifdef SPMD
    call mpibcast(bytes, size(bytes), mpichar, 0, mpicom)
#endif
  end subroutine share_bytes

  !> Adds values up over all ranks; totals are the master's alone. Collective.
  subroutine sum_on_master(values, totals)
    real(r8), intent(in) :: values(:)
    real(r8), intent(out) :: totals(:)                       !! As many as values.

    totals = values
#ifdef SPMD
    call mpisum(values, totals, size(values), mpir8, 0, mpicom)
#endif
  end subroutine sum_on_master

end module mmf_nn_errors
