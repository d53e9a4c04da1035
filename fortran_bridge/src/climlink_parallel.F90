!> What the emulator needs from MPI, and nothing more. Two submodules implement it:
!! climlink_parallel_mpi and climlink_parallel_serial; the build takes one of them (CLIMLINK_MPI),
!! so no host-facing module depends on MPI's own modules.
!!
!! A communicator is an integer handle, as models pass it. Procedures that take one are collective
!! over it, unless noted. Errors inside MPI itself go to the communicator's error handler.
module climlink_parallel
  use, intrinsic :: iso_fortran_env, only: int8, int64
  use climlink_errors, only: climlink_status
  implicit none (type, external)
  private

  public :: mpi_runs, process_rank, communicator_rank, check_communicator, agree, node_rank, &
            broadcast_count, broadcast_bytes, stop_program, settle

  interface
    !> True between MPI_Init and MPI_Finalize. Not collective.
    module function mpi_runs() result(runs)
      implicit none (type, external)
      logical :: runs
    end function mpi_runs

    !> Rank of this process among all, 0 where MPI does not run. Not collective.
    module function process_rank() result(rank)
      implicit none (type, external)
      integer :: rank
    end function process_rank

    !> Rank of this process in comm. Not collective.
    module function communicator_rank(comm) result(rank)
      implicit none (type, external)
      integer, intent(in) :: comm
      integer :: rank
    end function communicator_rank

    !> Refuses a communicator that cannot be used: no MPI in this build, MPI not running, null
    !! communicator. Not collective.
    module function check_communicator(comm) result(status)
      implicit none (type, external)
      integer, intent(in) :: comm
      type(climlink_status) :: status
    end function check_communicator

    !> Gives all ranks the same status: that of the lowest rank that failed, or their own if none
    !! did.
    module subroutine agree(comm, status)
      implicit none (type, external)
      integer, intent(in) :: comm
      type(climlink_status), intent(inout) :: status
    end subroutine agree

    !> Rank of this process among those of comm that share its node.
    module function node_rank(comm) result(rank)
      implicit none (type, external)
      integer, intent(in) :: comm
      integer :: rank
    end function node_rank

    !> Sends a count from rank 0 to all ranks.
    module subroutine broadcast_count(comm, count)
      implicit none (type, external)
      integer, intent(in) :: comm
      integer(int64), intent(inout) :: count
    end subroutine broadcast_count

    !> Sends bytes from rank 0 to all ranks, any number of them.
    module subroutine broadcast_bytes(comm, bytes, chunk)
      implicit none (type, external)
      integer, intent(in) :: comm
      integer(int8), contiguous, intent(inout) :: bytes(:)
      integer(int64), intent(in), optional :: chunk    !! Bytes per message; by default as many as
                                                       !! MPI's counts allow.
    end subroutine broadcast_bytes

    !> Writes the message to the error unit and ends the whole program with a non-zero exit code.
    !! Not collective.
    module subroutine stop_program(message)
      implicit none (type, external)
      character(len=*), intent(in) :: message
    end subroutine stop_program
  end interface

contains

  !> Hands the outcome to the caller, with an empty message if there is none, or ends the program if
  !! the caller took no status and it is an error.
  subroutine settle(outcome, status)
    type(climlink_status), intent(in) :: outcome
    type(climlink_status), intent(out), optional :: status

    if (present(status)) then
      status = outcome
      if (.not. allocated(status%message)) status%message = ''
    else if (.not. outcome%ok()) then
      call stop_program(outcome%message)
    end if
  end subroutine settle

end module climlink_parallel
