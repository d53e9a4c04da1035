!> climlink_groups on MPI-3.
submodule(climlink_groups) climlink_groups_mpi
  use, intrinsic :: iso_c_binding, only: c_intptr_t
  use, intrinsic :: iso_fortran_env, only: int8, real64
  use mpi_f08, only: MPI_ADDRESS_KIND, MPI_Allreduce, MPI_Barrier, MPI_Bcast, MPI_Comm, &
                     MPI_Comm_free, MPI_Comm_rank, MPI_Comm_set_errhandler, MPI_Comm_size, &
                     MPI_Comm_split, MPI_Comm_split_type, MPI_COMM_TYPE_SHARED, &
                     MPI_DOUBLE_PRECISION, MPI_ERRORS_RETURN, MPI_IN_PLACE, MPI_INFO_NULL, &
                     MPI_INTEGER, MPI_LAND, MPI_LOGICAL, MPI_MAX, MPI_MIN, MPI_MODE_NOCHECK, &
                     MPI_SUCCESS, MPI_SUM, MPI_Win, MPI_Win_allocate_shared, MPI_Win_free, &
                     MPI_Win_lock_all, MPI_Win_shared_query, MPI_Win_unlock_all
  implicit none (type, external)

  integer(c_intptr_t), parameter :: cache_line = 64_c_intptr_t    !! [byte]

contains

  module procedure same_on_all
    integer :: extremes(2)

    extremes = [number, -number]
    call MPI_Allreduce(MPI_IN_PLACE, extremes, 2, MPI_INTEGER, MPI_MIN, MPI_Comm(comm))
    yes = extremes(1) == -extremes(2)
  end procedure same_on_all

  module procedure split_node
    type(MPI_Comm) :: node, members
    integer :: local_rank, n_local
    integer(c_int32_t) :: n_device

    node = node_of(comm)
    call MPI_Comm_rank(node, local_rank)
    call MPI_Comm_size(node, n_local)
    n_device = 0
    if (wanted == 0) then
      if (local_rank == 0) then
        if (climlink_device_count_c(c_characters(device), n_device) /= climlink_ok) n_device = 0
      end if
      call MPI_Bcast(n_device, 1, MPI_INTEGER, 0, node)
    end if
    call plan_group(local_rank, n_local, wanted, int(n_device), group%number, group%rank, &
                    group%size)
    call MPI_Comm_split(node, group%number, group%rank, members)
    call MPI_Comm_set_errhandler(members, MPI_ERRORS_RETURN)
    group%comm = members%mpi_val
    call MPI_Comm_free(node)
  end procedure split_node

  !> The ranks of comm that share this one's memory.
  function node_of(comm) result(node)
    integer, intent(in) :: comm
    type(MPI_Comm) :: node

    call MPI_Comm_split_type(MPI_Comm(comm), MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, node)
  end function node_of

  ! All of it lies in the part of rank 0, so that the rows of neighbours touch. A page belongs to
  ! the memory of the core that writes it first, which is that of the rank whose columns it holds.
  module procedure allocate_shared
    type(MPI_Comm) :: members
    type(MPI_Win) :: window
    integer :: rank, failed, unit_bytes
    integer(MPI_ADDRESS_KIND) :: mine
    integer(int8), pointer :: all_bytes(:)
    logical :: done

    call free_shared(memory)
    members = MPI_Comm(comm)
    call MPI_Comm_rank(members, rank)
    mine = 0
    if (rank == 0) mine = bytes + cache_line
    call MPI_Win_allocate_shared(mine, 1, MPI_INFO_NULL, members, memory%address, window, failed)
    done = failed == MPI_SUCCESS
    call MPI_Allreduce(MPI_IN_PLACE, done, 1, MPI_LOGICAL, MPI_LAND, members)
    memory%is_held = failed == MPI_SUCCESS
    memory%window = window%mpi_val
    memory%address = c_null_ptr
    if (.not. done) return
    call MPI_Win_shared_query(window, 0, mine, unit_bytes, memory%address)
    memory%address = aligned(memory%address)
    if (rank == 0 .and. is_clear) then
      call c_f_pointer(memory%address, all_bytes, [bytes])
      all_bytes = 0_int8
    end if
    call MPI_Barrier(members)
    call MPI_Win_lock_all(MPI_MODE_NOCHECK, window)
  end procedure allocate_shared

  !> The first whole cache line from an address on. Mappings begin with a page, so that the distance
  !! is the same on all ranks.
  function aligned(address) result(next)
    type(c_ptr), intent(in) :: address
    type(c_ptr) :: next
    integer(c_intptr_t) :: place

    place = transfer(address, place)
    next = transfer((place + cache_line - 1_c_intptr_t) / cache_line * cache_line, next)
  end function aligned

  subroutine free_shared(memory)
    type(shared_memory), intent(inout) :: memory
    type(MPI_Win) :: window

    if (.not. memory%is_held) return
    window = MPI_Win(memory%window)
    if (c_associated(memory%address)) call MPI_Win_unlock_all(window)
    call MPI_Win_free(window)
    memory = shared_memory()
  end subroutine free_shared

  module procedure free_group
    type(MPI_Comm) :: members

    call free_shared(group%rows)
    call free_shared(group%control)
    members = MPI_Comm(group%comm)
    call MPI_Comm_free(members)
  end procedure free_group

  module procedure memory_of_node
    type(MPI_Comm) :: node
    integer(c_int64_t) :: resident, share, on_device, available, whole
    integer :: counts(2)
    real(real64) :: largest(2), total, megabytes, held
    real(real64), parameter :: megabyte = 1.0e6_real64

    node = node_of(comm)
    if (climlink_process_memory_c(resident, share) /= climlink_ok) resident = 0
    if (climlink_device_memory_c(handle, on_device, available, whole) /= climlink_ok) on_device = 0
    held = real(on_device, real64) / megabyte
    megabytes = real(resident, real64) / megabyte
    total = real(share, real64) / megabyte
    counts = merge([1, 0], [0, 1], leads)
    largest = merge([megabytes, 0.0_real64], [0.0_real64, megabytes], leads)
    call MPI_Allreduce(MPI_IN_PLACE, counts, 2, MPI_INTEGER, MPI_SUM, node)
    call MPI_Allreduce(MPI_IN_PLACE, largest, 2, MPI_DOUBLE_PRECISION, MPI_MAX, node)
    call MPI_Allreduce(MPI_IN_PLACE, total, 1, MPI_DOUBLE_PRECISION, MPI_SUM, node)
    call MPI_Allreduce(MPI_IN_PLACE, held, 1, MPI_DOUBLE_PRECISION, MPI_SUM, node)
    call MPI_Comm_free(node)
    text = number_text(counts(1)) // ' rank(s) with a network, up to ' // &
           number_text(nint(largest(1))) // ' MB resident; ' // number_text(counts(2)) // &
           ' without, up to ' // number_text(nint(largest(2))) // ' MB; in all ' // &
           number_text(nint(total)) // ' MB, shared pages once'
    if (held > 0.0_real64) text = text // '; ' // number_text(nint(held)) // ' MB of GPUs'
  end procedure memory_of_node

end submodule climlink_groups_mpi
