!> The lock by which a job holds its run folder: as long as a rank lives, nobody starts another job
!! there.
module host_lock
  use, intrinsic :: iso_c_binding, only: c_char, c_int, c_null_char
  use host_parallel, only: agree, rank
  implicit none (type, external)
  private

  public :: hold_folder

  interface
    function c_lock(path, shared, reason, size) result(outcome) bind(c, name='climlink_host_lock')
      import :: c_char, c_int
      implicit none (type, external)
      character(kind=c_char), intent(in) :: path(*)
      integer(c_int), intent(in), value :: shared
      character(kind=c_char), intent(inout) :: reason(*)
      integer(c_int), intent(in), value :: size
      integer(c_int) :: outcome
    end function c_lock
  end interface

  !> Kinds and outcomes of folder_lock.c.
  integer(c_int), parameter :: alone = 0, shared = 1
  integer(c_int), parameter :: locked = 0, taken = 1

contains

  !> Takes the lock, '' for none, until this process ends: rank 0 alone first, so that no other job
  !! can have it, then all ranks together, so that it outlives the last of them. error is the same
  !! on all ranks. Collective.
  subroutine hold_folder(lock_file, error)
    character(len=*), intent(in) :: lock_file
    character(len=:), allocatable, intent(out) :: error

    error = ''
    if (len(lock_file) == 0) return
    if (rank == 0) call take(lock_file, alone, error)
    if (rank == 0 .and. len(error) == 0) call take(lock_file, shared, error)
    call agree(error)
    if (len(error) > 0) return
    if (rank > 0) call take(lock_file, shared, error)
    call agree(error)
  end subroutine hold_folder

  subroutine take(lock_file, kind, error)
    character(len=*), intent(in) :: lock_file
    integer(c_int), intent(in) :: kind
    character(len=:), allocatable, intent(out) :: error
    character(kind=c_char, len=256) :: reason
    integer(c_int) :: outcome

    error = ''
    reason = c_null_char
    outcome = c_lock(lock_file // c_null_char, kind, reason, int(len(reason), c_int))
    if (outcome == locked) return
    if (outcome == taken) then
      error = lock_file // ': another job is running in this folder; wait for it, or end it'
    else
      error = lock_file // ': cannot be locked (' // reason(:index(reason, c_null_char) - 1) // &
              '); put the run on a file system that has file locks'
    end if
  end subroutine take

end module host_lock
