!> Opening one package on all ranks of a communicator.
module climlink_opening
  use, intrinsic :: iso_c_binding, only: c_associated, c_f_pointer, c_int64_t, c_loc, c_null_ptr, &
                                         c_ptr
  use, intrinsic :: iso_fortran_env, only: int64, int8
  use climlink_c_api, only: c_characters, climlink_close_c, climlink_constraints_off_c, &
                            climlink_engine_c, climlink_engine_note_c, climlink_precision_c, &
                            climlink_free_c, climlink_open_bytes_c, climlink_read_file_c, &
                            text_answer
  use climlink_errors, only: climlink_error_argument, climlink_error_internal, climlink_ok, &
                             climlink_status, failure, outcome_of
  use climlink_groups, only: form_group, free_group, node_group, open_in_group
  use climlink_parallel, only: agree, broadcast_bytes, broadcast_count, node_rank
  use climlink_run_options, only: number_text, set_c_option
  implicit none (type, external)
  private

  public :: open_together

contains

  !> Rank 0 of comm reads the file, every rank opens its bytes. Each phase ends with an agreement,
  !! so that a failure anywhere is an error everywhere and nobody waits; also what this rank knows
  !! beforehand (outcome) goes in. On failure handle and group are null.
  subroutine open_together(path, options, comm, rank, handle, group, outcome)
    character(len=*), intent(in) :: path
    type(c_ptr), intent(in) :: options                   !! Of climlink_options_new_c.
    integer, intent(in) :: comm
    integer, intent(in) :: rank                          !! Of this process in comm.
    type(c_ptr), intent(inout) :: handle
    type(node_group), pointer, intent(out) :: group      !! That shares the network; null: none.
    type(climlink_status), intent(inout) :: outcome
    integer(int8), allocatable, target :: bytes(:)
    integer :: local_rank

    local_rank = node_rank(comm)                         ! collective, whatever happened before
    call set_c_option(options, 'local_rank', number_text(local_rank), rank, outcome, 'open')
    call agree(comm, outcome)
    nullify (group)
    if (outcome%ok()) call form_group(options, comm, rank, group, outcome)
    if (outcome%ok()) call share_file(path, comm, rank, bytes, outcome)
    if (outcome%ok()) then
      if (associated(group)) then
        call open_in_group(c_loc(bytes), size(bytes, kind=c_int64_t), path, options, rank, group, &
                           handle, outcome)
      else
        outcome = outcome_of(climlink_open_bytes_c(c_loc(bytes), size(bytes, kind=c_int64_t), &
                                                   c_characters(path), options, handle), rank, &
                             'open')
      end if
      call agree(comm, outcome)
      if (outcome%ok()) call check_same(text_answer(climlink_constraints_off_c, handle), &
        'constraints_off', 'give all ranks the same', comm, rank, outcome)
      if (outcome%ok()) call check_same_engine(handle, comm, rank, outcome)
      if (outcome%ok()) return
      if (c_associated(handle)) then
        if (climlink_close_c(handle) /= climlink_ok) handle = c_null_ptr
      end if
    end if
    if (.not. associated(group)) return
    call free_group(group)
    deallocate (group)
  end subroutine open_together

  !> Refuses a rank on which another engine runs than on rank 0: a compiled artefact may not run on
  !! the processors of some nodes, and then a column's bits would depend on its rank.
  subroutine check_same_engine(handle, comm, rank, outcome)
    type(c_ptr), intent(in) :: handle                    !! Open on every rank.
    integer, intent(in) :: comm, rank
    type(climlink_status), intent(inout) :: outcome
    character(len=:), allocatable :: advice

    advice = 'compile the package for the processors of all nodes, or leave out option compiled'
    if (text_answer(climlink_engine_c, handle) == 'torchscript') then
      advice = text_answer(climlink_engine_note_c, handle) // '; ' // advice
    end if
    call check_same(text_answer(climlink_engine_c, handle) // ' in ' // &
                    text_answer(climlink_precision_c, handle), 'the engine', advice, comm, rank, &
                    outcome)
  end subroutine check_same_engine

  !> Refuses a rank that has another text than rank 0: one run would hold two physics.
  subroutine check_same(own, what, advice, comm, rank, outcome)
    character(len=*), intent(in) :: own, what, advice
    integer, intent(in) :: comm, rank
    type(climlink_status), intent(inout) :: outcome
    character(len=:), allocatable :: first
    integer(int8), allocatable :: bytes(:)
    integer(int64) :: n_byte

    n_byte = len(own)
    call broadcast_count(comm, n_byte)
    allocate (bytes(n_byte), source=0_int8)
    if (rank == 0) bytes = transfer(own, bytes)
    call broadcast_bytes(comm, bytes)
    first = transfer(bytes, repeat(' ', int(n_byte)))
    if (own /= first .or. len(own) /= len(first)) then
      outcome = failure(climlink_error_argument, rank, 'open: ' // what // ' is "' // own &
                        // '" here but "' // first // '" on rank 0; ' // advice)
    end if
    call agree(comm, outcome)
  end subroutine check_same

  !> Rank 0 of comm reads the file; every rank ends with its bytes, or every rank with the same
  !! error.
  subroutine share_file(path, comm, rank, bytes, outcome)
    character(len=*), intent(in) :: path
    integer, intent(in) :: comm, rank
    integer(int8), allocatable, intent(out) :: bytes(:)
    type(climlink_status), intent(out) :: outcome
    integer(int64) :: n_byte
    integer :: allocation
    type(c_ptr) :: file
    integer(int8), pointer :: file_bytes(:)

    file = c_null_ptr
    n_byte = 0
    if (rank == 0) outcome = outcome_of(climlink_read_file_c(c_characters(path), file, n_byte), &
                                        rank, 'open')
    call agree(comm, outcome)
    if (.not. outcome%ok()) return
    call broadcast_count(comm, n_byte)
    allocate (bytes(n_byte), stat=allocation)
    if (allocation /= 0) outcome = failure(climlink_error_internal, rank, &
                                           'open: no memory to receive the package ' // trim(path))
    if (rank == 0) then
      call c_f_pointer(file, file_bytes, [n_byte])
      if (allocation == 0) bytes = file_bytes
      call climlink_free_c(file)
    end if
    call agree(comm, outcome)
    if (outcome%ok()) call broadcast_bytes(comm, bytes)
  end subroutine share_file

end module climlink_opening
