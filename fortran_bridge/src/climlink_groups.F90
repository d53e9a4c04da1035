!> Ranks of a node that share one network: the first rank of such a group, its leader, opens the
!! network and runs it on the columns of all; they and the results lie in memory that all ranks of
!! the group see. What happens in that memory is the library's (climlink_open_in_group of
!! climlink.h); here is who belongs to which group, and how MPI gives the memory. Two submodules do
!! what MPI does: climlink_groups_mpi and climlink_groups_serial.
module climlink_groups
  use, intrinsic :: iso_c_binding, only: c_associated, c_char, c_f_pointer, c_funloc, c_funptr, &
                                         c_int, c_int32_t, c_int64_t, c_loc, c_null_funptr, &
                                         c_null_ptr, c_ptr
  use climlink_c_api, only: c_characters, c_text, climlink_options_get_c
  use climlink_errors, only: climlink_error_argument, climlink_error_internal, climlink_ok, &
                             climlink_status, failure, outcome_of
  use climlink_parallel, only: agree
  use climlink_run_options, only: number_text, set_c_option
  implicit none (type, external)
  private

  public :: node_group, form_group, open_in_group, leave_step, leave_group, free_group, &
            memory_of_node, plan_group

  !> Memory that all ranks of a group see.
  type :: shared_memory
    integer :: window = -1                   !! MPI's handle.
    logical :: is_held = .false.
    type(c_ptr) :: address = c_null_ptr      !! Aligned to a cache line.
  end type shared_memory

  !> One group, as one of its ranks sees it. Stays where it is while the emulator is open.
  type :: node_group
    integer :: rank = 0                      !! In the group; 0 leads.
    integer :: size = 1
    integer :: number = 0                    !! Of the group on its node, from 0.
    integer :: comm = -1                     !! MPI's handle.
    type(shared_memory) :: control, rows
  end type node_group

  !> `climlink_group` of climlink.h.
  type, bind(c) :: c_group
    integer(c_int32_t) :: rank = 0_c_int32_t, size = 1_c_int32_t, host_rank = 0_c_int32_t
    type(c_ptr) :: control = c_null_ptr
    type(c_funptr) :: allocate = c_null_funptr
    type(c_ptr) :: context = c_null_ptr
  end type c_group

  interface
    function climlink_group_bytes_c(size) result(bytes) bind(c, name='climlink_group_bytes')
      import :: c_int32_t, c_int64_t
      implicit none (type, external)
      integer(c_int32_t), value, intent(in) :: size
      integer(c_int64_t) :: bytes
    end function climlink_group_bytes_c

    function climlink_open_in_group_c(bytes, size, name, options, group, emulator) result(status) &
      bind(c, name='climlink_open_in_group')
      import :: c_char, c_group, c_int, c_int64_t, c_ptr
      implicit none (type, external)
      type(c_ptr), value, intent(in) :: bytes
      integer(c_int64_t), value, intent(in) :: size
      character(kind=c_char), intent(in) :: name(*)
      type(c_ptr), value, intent(in) :: options
      type(c_group), intent(in) :: group
      type(c_ptr), intent(out) :: emulator
      integer(c_int) :: status
    end function climlink_open_in_group_c

    function climlink_leave_step_c(emulator, message) result(status) &
      bind(c, name='climlink_leave_step')
      import :: c_char, c_int, c_ptr
      implicit none (type, external)
      type(c_ptr), value, intent(in) :: emulator
      character(kind=c_char), intent(in) :: message(*)
      integer(c_int) :: status
    end function climlink_leave_step_c

    function climlink_leave_group_c(emulator) result(status) bind(c, name='climlink_leave_group')
      import :: c_int, c_ptr
      implicit none (type, external)
      type(c_ptr), value, intent(in) :: emulator
      integer(c_int) :: status
    end function climlink_leave_group_c

    function climlink_device_count_c(device, count) result(status) &
      bind(c, name='climlink_device_count')
      import :: c_char, c_int, c_int32_t
      implicit none (type, external)
      character(kind=c_char), intent(in) :: device(*)
      integer(c_int32_t), intent(out) :: count
      integer(c_int) :: status
    end function climlink_device_count_c

    function climlink_device_memory_c(emulator, held, available, total) result(status) &
      bind(c, name='climlink_device_memory')
      import :: c_int, c_int64_t, c_ptr
      implicit none (type, external)
      type(c_ptr), value, intent(in) :: emulator
      integer(c_int64_t), intent(out) :: held, available, total
      integer(c_int) :: status
    end function climlink_device_memory_c

    function climlink_process_memory_c(resident, share) result(status) &
      bind(c, name='climlink_process_memory')
      import :: c_int, c_int64_t
      implicit none (type, external)
      integer(c_int64_t), intent(out) :: resident, share
      integer(c_int) :: status
    end function climlink_process_memory_c

    !> True if all ranks of comm have the same number. Collective.
    module function same_on_all(comm, number) result(yes)
      implicit none (type, external)
      integer, intent(in) :: comm, number
      logical :: yes
    end function same_on_all

    !> Makes the groups of every node of comm. Collective over comm.
    module subroutine split_node(comm, wanted, device, group)
      implicit none (type, external)
      integer, intent(in) :: comm
      integer, intent(in) :: wanted              !! Ranks of a group; 0: those that share a device.
      character(len=*), intent(in) :: device     !! The option; one rank of a node counts them.
      type(node_group), intent(out) :: group
    end subroutine split_node

    !> Gives all ranks of a group the same bytes, zero if is_clear, in place of those before; a null
    !! address on all if it cannot. Collective over the group.
    module subroutine allocate_shared(comm, bytes, is_clear, memory)
      implicit none (type, external)
      integer, intent(in) :: comm
      integer(c_int64_t), intent(in) :: bytes
      logical, intent(in) :: is_clear
      type(shared_memory), intent(inout) :: memory
    end subroutine allocate_shared

    !> Frees what MPI holds for the group, while MPI runs. Collective over the group.
    module subroutine free_group(group)
      implicit none (type, external)
      type(node_group), intent(inout) :: group
    end subroutine free_group

    !> What this node's ranks of comm take of its memory, as a sentence. Collective.
    module function memory_of_node(comm, leads, handle) result(text)
      implicit none (type, external)
      integer, intent(in) :: comm
      logical, intent(in) :: leads               !! This rank has a network.
      type(c_ptr), intent(in) :: handle          !! Of this rank's emulator.
      character(len=:), allocatable :: text
    end function memory_of_node
  end interface

contains

  !> To which group of its node a rank belongs. Groups are neighbours; where devices make them,
  !! there is one for each device and their sizes differ by one at most.
  pure subroutine plan_group(local_rank, n_local, wanted, n_device, number, rank, size)
    integer, intent(in) :: local_rank, n_local   !! On the node, from 0, and how many there are.
    integer, intent(in) :: wanted                !! Ranks of a group; 0: as many as share a device.
    integer, intent(in) :: n_device              !! Of the node; 0: all ranks share the CPU.
    integer, intent(out) :: number               !! Of the group, from 0.
    integer, intent(out) :: rank, size           !! In the group.
    integer :: n_group, least, extra, first

    if (wanted > 0) then
      number = local_rank / wanted
      first = number * wanted
      size = min(wanted, n_local - first)
    else
      n_group = max(1, min(n_device, n_local))
      least = n_local / n_group
      extra = mod(n_local, n_group)              ! the first groups have one rank more
      number = local_rank / (least + 1)
      if (number >= extra) number = extra + (local_rank - extra * (least + 1)) / least
      first = number * least + min(number, extra)
      size = least + merge(1, 0, number < extra)
    end if
    rank = local_rank - first
  end subroutine plan_group

  !> Finds this rank's group as the options say, and its memory. A null pointer where it is alone:
  !! then everything is as without groups. Collective, with the same outcome on all ranks of comm.
  subroutine form_group(options, comm, rank, group, outcome)
    type(c_ptr), intent(in) :: options                   !! Of climlink_options_new_c.
    integer, intent(in) :: comm
    integer, intent(in) :: rank                          !! Of this process in comm.
    type(node_group), pointer, intent(out) :: group
    type(climlink_status), intent(inout) :: outcome      !! No error before.
    type(node_group) :: found
    integer :: wanted
    character(len=:), allocatable :: device

    nullify (group)
    device = value_of(options, 'group_size')
    read (device, *) wanted
    device = value_of(options, 'device')
    if (.not. same_on_all(comm, wanted)) outcome = failure(climlink_error_argument, rank, &
      'open: group_size is ' // number_text(wanted) // ' here, but not on all ranks; give all ' // &
      'ranks the same')
    call agree(comm, outcome)
    if (wanted == 1 .or. .not. outcome%ok()) return
    call split_node(comm, wanted, device, found)
    ! The leaders share out the devices of the node, as ranks do without groups.
    call set_c_option(options, 'local_rank', number_text(found%number), rank, outcome, 'open')
    if (found%size > 1) then
      allocate (group, source=found)
      call allocate_shared(group%comm, climlink_group_bytes_c(int(group%size, c_int32_t)), .true., &
                           group%control)
      if (.not. c_associated(group%control%address)) outcome = failure(climlink_error_internal, &
        rank, 'open: MPI gives the group no shared memory (MPI_Win_allocate_shared); set ' // &
        'group_size to 1')
    else
      call set_c_option(options, 'group_size', '1', rank, outcome, 'open')
      call free_group(found)
    end if
    call agree(comm, outcome)
  end subroutine form_group

  function value_of(options, name) result(text)
    type(c_ptr), intent(in) :: options
    character(len=*), intent(in) :: name
    character(len=:), allocatable :: text
    type(c_ptr) :: value

    text = ''
    if (climlink_options_get_c(options, c_characters(name), value) == climlink_ok) then
      text = c_text(value)
    end if
  end function value_of

  !> Opens a package in the group: on the leader with its network. Collective over the group.
  subroutine open_in_group(bytes, n_byte, path, options, rank, group, handle, outcome)
    type(c_ptr), intent(in) :: bytes                     !! The file.
    integer(c_int64_t), intent(in) :: n_byte
    character(len=*), intent(in) :: path
    type(c_ptr), intent(in) :: options                   !! Of climlink_options_new_c.
    integer, intent(in) :: rank                          !! Of this process, in messages.
    type(node_group), pointer, intent(in) :: group
    type(c_ptr), intent(inout) :: handle
    type(climlink_status), intent(inout) :: outcome
    type(c_group) :: place

    place%rank = group%rank
    place%size = group%size
    place%host_rank = rank
    place%control = group%control%address
    place%allocate = c_funloc(allocate_rows)
    place%context = c_loc(group)
    outcome = outcome_of(climlink_open_in_group_c(bytes, n_byte, c_characters(path), options, &
                                                  place, handle), rank, 'open')
  end subroutine open_in_group

  !> The library's way to memory for the columns of all ranks of a group.
  function allocate_rows(context, bytes) result(address) bind(c)
    type(c_ptr), value, intent(in) :: context            !! A node_group.
    integer(c_int64_t), value, intent(in) :: bytes
    type(c_ptr) :: address
    type(node_group), pointer :: group

    call c_f_pointer(context, group)
    call allocate_shared(group%comm, bytes, .false., group%rows)
    address = group%rows%address
  end function allocate_rows

  !> Lets the others of the group go on without this rank in this step.
  subroutine leave_step(handle, message)
    type(c_ptr), intent(in) :: handle
    character(len=*), intent(in) :: message
    integer(c_int) :: ignored

    ignored = climlink_leave_step_c(handle, c_characters(message))
  end subroutine leave_step

  !> Waits until all ranks of the group are here; an error if one does not come.
  function leave_group(handle, rank) result(outcome)
    type(c_ptr), intent(in) :: handle
    integer, intent(in) :: rank                          !! Of this process, in messages.
    type(climlink_status) :: outcome

    outcome = outcome_of(climlink_leave_group_c(handle), rank, 'close')
  end function leave_group

end module climlink_groups
