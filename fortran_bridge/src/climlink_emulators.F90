!> The emulator as a Fortran host sees it.
!!
!! Life cycle: open, then per physics step begin, set every input variable by name, run, get the
!! outputs by name; at the end close. All chunks of a rank go through one run: begin takes the
!! columns of the whole rank, and set and get take one chunk at a time, with the position of its
!! first column.
!!
!! Arrays are [sample, dims...] by index, with the dims that the package gives the variable:
!! [column] for one number per column, [column, level] for profiles, [field, lat, lon]; real32 or
!! real64, contiguous or sections.
!!
!! Every call takes an optional status. With it, nothing ends the process. Without it, an error
!! writes its message, with the rank and the variable, to the error unit and ends the whole program
!! (MPI_Abort where MPI runs).
module climlink_emulators
  use, intrinsic :: iso_c_binding, only: c_associated, c_int, c_int64_t, c_ptr
  use, intrinsic :: iso_fortran_env, only: real64
  use climlink_array_views, only: view_of
  use climlink_c_api, only: c_array, c_characters, c_role_input, c_role_output, climlink_begin_c, &
                            climlink_close_c, climlink_get_c, climlink_open_c, &
                            climlink_range_use_c, &
                            climlink_require_coordinate_c, climlink_require_units_c, &
                            climlink_run_c, climlink_set_c
  use climlink_errors, only: climlink_error_argument, climlink_error_host, climlink_error_shape, &
                             climlink_error_state, climlink_status, failure, outcome_of
  use climlink_groups, only: free_group, leave_group, leave_step, memory_of_node, node_group
  use climlink_opening, only: open_together
  use climlink_parallel, only: check_communicator, communicator_rank, mpi_runs, process_rank, &
                               settle
  use climlink_queries, only: handle_of, inputs_of, keep_handle, opened_package, outputs_of
  use climlink_run_options, only: climlink_options, free_c_options, new_c_options
  use climlink_variables, only: beyond_columns
  implicit none (type, external)
  private

  public :: climlink_emulator

  !> One opened package. It is closed by close, or when it goes out of scope. An emulator cannot be
  !! copied: assignment leaves the left side closed, so no package is ever closed twice. What it can
  !! be asked is in opened_package.
  type, extends(opened_package) :: climlink_emulator
    private
    integer :: rank = -1   !! Rank named in messages; negative before the first open.
    type(node_group), pointer :: group => null()   !! That shares the network; null: none.
  contains
    procedure :: open => emulator_open
    procedure :: begin => emulator_begin
    procedure :: set => emulator_set
    procedure :: run => emulator_run
    procedure :: get => emulator_get
    procedure :: range_use => emulator_range_use
    procedure :: close => emulator_close
    procedure :: leave_step => emulator_leave_step
    procedure :: group_size, leads_group, node_memory
    procedure :: require_coordinate => emulator_require_coordinate
    procedure :: require_columns => emulator_require_columns

    procedure, private :: assign_nothing
    generic :: assignment(=) => assign_nothing
    final :: finalize
  end type climlink_emulator

contains

  !> Opens a package: checks its digest and manifest against what the host declares, loads it on the
  !! device and replays its golden columns. With comm this is collective: rank 0 of comm reads the
  !! file, all ranks receive it, and all return the same status.
  subroutine emulator_open(self, path, status, comm, n_level, time_step, options)
    class(climlink_emulator), intent(inout) :: self
    character(len=*), intent(in) :: path                    !! Package file, such as wrap_model.pt.
    type(climlink_status), intent(out), optional :: status  !! What became of the call.
    integer, intent(in), optional :: comm                   !! MPI communicator; default: none.
    integer, intent(in), optional :: n_level                !! Levels of the host, to be checked.
    real(real64), intent(in), optional :: time_step         !! Of the host [s], to be checked.
    type(climlink_options), intent(in), optional :: options !! Default: the library's defaults.
    type(climlink_status) :: outcome
    type(climlink_options) :: wanted
    type(c_ptr) :: handle, c_options
    logical :: together

    call locate(self, outcome, comm)
    ! A communicator of no use cannot carry an agreement; all else is a matter for all ranks.
    together = present(comm) .and. outcome%code /= climlink_error_argument
    if (present(options)) wanted = options
    if (present(n_level)) call wanted%set('level_count', n_level)
    if (present(time_step)) call wanted%set('time_step_s', time_step)
    call new_c_options(wanted, self%rank, c_options, outcome)
    handle = handle_of(self)
    if (together) then
      call open_together(path, c_options, comm, self%rank, handle, self%group, outcome)
    else if (outcome%ok()) then
      outcome = outcome_of(climlink_open_c(c_characters(path), c_options, handle), self%rank, &
                           'open')
    end if
    call free_c_options(c_options)
    call keep_handle(self, handle)
    call settle(outcome, status)
  end subroutine emulator_open

  !> Starts a step with n_column columns on this rank; 0 is legal. What was set before is forgotten.
  subroutine emulator_begin(self, n_column, status)
    class(climlink_emulator), intent(inout) :: self
    integer, intent(in) :: n_column                  !! Columns of all chunks of this rank together.
    type(climlink_status), intent(out), optional :: status  !! What became of the call.
    type(climlink_status) :: outcome

    call check_open(self, 'begin', outcome)
    if (outcome%ok()) outcome = outcome_of(climlink_begin_c(handle_of(self), &
                                                            int(n_column, c_int64_t)), &
                                           self%rank, 'begin')
    call settle(outcome, status)
  end subroutine emulator_begin

  !> Gives the emulator some columns of one input variable. Values that are not finite as real32 are
  !! refused.
  subroutine emulator_set(self, name, values, first_column, status, units)
    class(climlink_emulator), intent(inout) :: self
    character(len=*), intent(in) :: name                       !! Variable name, such as state_t.
    type(*), dimension(..), intent(in) :: values               !! [sample, dims...], a real kind.
    integer, intent(in) :: first_column                        !! Position of the first of these
                                                               !! columns, from 1.
    type(climlink_status), intent(out), optional :: status     !! What became of the call.
    character(len=*), intent(in), optional :: units            !! Units of the host, checked against
                                                               !! the package.
    type(c_array) :: view
    type(climlink_status) :: outcome

    call check_open(self, 'set ' // trim(name), outcome)
    if (outcome%ok()) call check_units(self, c_role_input, name, 'set', outcome, units)
    if (outcome%ok()) call view_of(name, values, self%rank, 'set', view, outcome)
    if (outcome%ok()) then
      outcome = outcome_of(climlink_set_c(handle_of(self), c_characters(name), view, &
                                          int(first_column - 1, c_int64_t)), self%rank, 'set')
    end if
    if (.not. outcome%ok()) call self%leave_step(outcome%message)
    call settle(outcome, status)
  end subroutine emulator_set

  !> Runs all columns of the step. Fails if an input is unset or an output is not finite.
  subroutine emulator_run(self, status)
    class(climlink_emulator), intent(inout) :: self
    type(climlink_status), intent(out), optional :: status     !! What became of the call.
    type(climlink_status) :: outcome

    call check_open(self, 'run', outcome)
    if (outcome%ok()) outcome = outcome_of(climlink_run_c(handle_of(self)), self%rank, 'run')
    call settle(outcome, status)
  end subroutine emulator_run

  !> Takes some columns of one output variable.
  subroutine emulator_get(self, name, values, first_column, status, units)
    class(climlink_emulator), intent(in) :: self
    character(len=*), intent(in) :: name                       !! Variable name, such as ptend_t.
    type(*), dimension(..), intent(inout) :: values            !! [sample, dims...], a real kind.
    integer, intent(in) :: first_column                        !! Position of the first of these
                                                               !! columns, from 1.
    type(climlink_status), intent(out), optional :: status     !! What became of the call.
    character(len=*), intent(in), optional :: units            !! Units of the host, checked against
                                                               !! the package.
    type(c_array) :: view
    type(climlink_status) :: outcome

    call check_open(self, 'get ' // trim(name), outcome)
    if (outcome%ok()) call check_units(self, c_role_output, name, 'get', outcome, units)
    if (outcome%ok()) call view_of(name, values, self%rank, 'get', view, outcome)
    if (outcome%ok()) then
      outcome = outcome_of(climlink_get_c(handle_of(self), c_characters(name), view, &
                                          int(first_column - 1, c_int64_t)), self%rank, 'get')
    end if
    call settle(outcome, status)
  end subroutine emulator_get

  !> How much the range policy of the package holds each column of this step [column]. Every input
  !! must be set; run is not needed, and the network does not run. All zero, at no cost, without
  !! has_range_policy.
  subroutine emulator_range_use(self, clipped, heating, mass_share, status)
    class(climlink_emulator), intent(inout) :: self
    real(real64), intent(out) :: clipped(:)      !! Values that the network sees clipped.
    real(real64), intent(out) :: heating(:)      !! By relaxation toward the training range, the
                                                 !! mass integral of |cp dT/dt| [W/m2].
    real(real64), intent(out) :: mass_share(:)   !! Share of the mass that is relaxed, 0 to 1.
    type(climlink_status), intent(out), optional :: status     !! What became of the call.
    type(climlink_status) :: outcome
    character(len=60) :: text

    call check_open(self, 'range_use', outcome)
    if (outcome%ok() .and. any([size(heating), size(mass_share)] /= size(clipped))) then
      write (text, '(2(i0,", "),"and ",i0)') size(clipped), size(heating), size(mass_share)
      outcome = failure(climlink_error_shape, self%rank, &
        'range_use: clipped, heating and mass_share have ' // trim(text) // &
        ' values; expected the number of columns of the step in each')
    end if
    if (outcome%ok()) outcome = outcome_of( &
      climlink_range_use_c(handle_of(self), size(clipped, kind=c_int64_t), clipped, heating, &
                           mass_share), self%rank, 'range_use')
    if (.not. outcome%ok()) call self%leave_step(outcome%message)
    call settle(outcome, status)
  end subroutine emulator_range_use

  !> Closes the package and frees its memory; closing twice is allowed. Collective over the ranks
  !! that share a network.
  subroutine emulator_close(self, status)
    class(climlink_emulator), intent(inout) :: self
    type(climlink_status), intent(out), optional :: status     !! What became of the call.
    type(climlink_status) :: outcome, left
    type(c_ptr) :: handle
    logical :: is_shared

    handle = handle_of(self)
    ! After MPI_Finalize there is no shared memory to look at.
    is_shared = associated(self%group) .and. c_associated(handle)
    if (is_shared) is_shared = mpi_runs()
    if (is_shared) left = leave_group(handle, self%rank)
    outcome = outcome_of(climlink_close_c(handle), self%rank, 'close')
    call keep_handle(self, handle)
    if (is_shared .and. left%ok()) then
      call free_group(self%group)
      deallocate (self%group)
    end if
    nullify (self%group)           ! memory that another rank may still use is not freed
    if (outcome%ok()) outcome = left
    call settle(outcome, status)
  end subroutine emulator_close

  !> For hosts that fail between begin and run for a reason of their own: the ranks that share the
  !! network do not wait for this one before its next begin. Failures of begin, set, run and of
  !! tables do it by themselves. Nothing to do where no network is shared.
  subroutine emulator_leave_step(self, message)
    class(climlink_emulator), intent(in) :: self
    character(len=*), intent(in) :: message                    !! What failed.

    if (associated(self%group)) call leave_step(handle_of(self), message)
  end subroutine emulator_leave_step

  !> Ranks that share this one's network; 1 where it has its own.
  pure function group_size(self) result(n)
    class(climlink_emulator), intent(in) :: self
    integer :: n

    n = 1
    if (associated(self%group)) n = self%group%size
  end function group_size

  !> True where this rank has a network, its own or that of its group.
  function leads_group(self) result(yes)
    class(climlink_emulator), intent(in) :: self
    logical :: yes

    yes = self%is_open()
    if (associated(self%group)) yes = self%group%rank == 0
  end function leads_group

  !> What the ranks of comm that are on this node take of its memory now, as a sentence for a log:
  !! resident memory of ranks with a network and without, the sum, and what torch holds of GPUs.
  !! Collective over comm.
  function node_memory(self, comm) result(text)
    class(climlink_emulator), intent(in) :: self
    integer, intent(in) :: comm                                !! MPI communicator.
    character(len=:), allocatable :: text

    text = memory_of_node(comm, self%leads_group(), handle_of(self))
  end function node_memory

  !> Fails unless the host's positions along a dimension, such as lat in degrees_north, are the
  !! package's.
  subroutine emulator_require_coordinate(self, dim, values, status)
    class(climlink_emulator), intent(in) :: self
    character(len=*), intent(in) :: dim                        !! Dimension of the package.
    real(real64), intent(in) :: values(:)                      !! In the package's units and order.
    type(climlink_status), intent(out), optional :: status     !! What became of the call.
    type(climlink_status) :: outcome

    call check_open(self, 'require_coordinate ' // trim(dim), outcome)
    if (outcome%ok()) outcome = outcome_of( &
      climlink_require_coordinate_c(handle_of(self), c_characters(dim), values, &
                                    size(values, kind=c_int64_t)), self%rank, 'require_coordinate')
    call settle(outcome, status)
  end subroutine emulator_require_coordinate

  !> Fails where an input or output is more than one number or one profile per column. For hosts
  !! that have columns only.
  subroutine emulator_require_columns(self, status)
    class(climlink_emulator), intent(in), target :: self
    type(climlink_status), intent(out), optional :: status     !! What became of the call.
    type(climlink_status) :: outcome
    character(len=:), allocatable :: found, kind

    call check_open(self, 'require_columns', outcome)
    if (outcome%ok()) then
      kind = 'input '
      found = beyond_columns(inputs_of(self))
      if (len(found) == 0) then
        kind = 'output '
        found = beyond_columns(outputs_of(self))
      end if
      if (len(found) > 0) then
        outcome = failure(climlink_error_host, self%rank, &
          'this host has columns, [level] or one number each; the package has the ' // kind // &
          found // ': it is for a host that has these dims')
      end if
    end if
    call settle(outcome, status)
  end subroutine emulator_require_columns

  !> Finds out which rank this is, and what stands against opening: a communicator of no use, or an
  !! emulator that is open already.
  subroutine locate(self, outcome, comm)
    class(climlink_emulator), intent(inout) :: self
    type(climlink_status), intent(out) :: outcome
    integer, intent(in), optional :: comm

    if (present(comm)) outcome = check_communicator(comm)
    if (.not. outcome%ok()) return
    if (self%is_open()) then
      outcome = failure(climlink_error_state, self%rank, &
                        'open: this emulator is open already; close it first, or use another one')
    else if (present(comm)) then
      self%rank = communicator_rank(comm)
    else
      self%rank = process_rank()
    end if
  end subroutine locate

  subroutine check_open(self, doing, outcome)
    class(climlink_emulator), intent(in) :: self
    character(len=*), intent(in) :: doing
    type(climlink_status), intent(out) :: outcome

    if (.not. self%is_open()) outcome = failure( &
      climlink_error_state, merge(process_rank(), self%rank, self%rank < 0), doing // &
      ': the emulator is not open; call open first (assignment does not copy an emulator)')
  end subroutine check_open

  subroutine check_units(self, role, name, doing, outcome, units)
    class(climlink_emulator), intent(in) :: self
    integer(c_int), intent(in) :: role
    character(len=*), intent(in) :: name, doing
    type(climlink_status), intent(inout) :: outcome
    character(len=*), intent(in), optional :: units

    if (present(units)) outcome = outcome_of( &
      climlink_require_units_c(handle_of(self), role, c_characters(name), c_characters(units)), &
      self%rank, doing)
  end subroutine check_units

  !> Assignment copies nothing: the left side ends up closed, so that one package has one owner.
  impure elemental subroutine assign_nothing(left, right)
    class(climlink_emulator), intent(inout) :: left
    class(climlink_emulator), intent(in) :: right
    type(climlink_status) :: closing

    if (c_associated(handle_of(left), handle_of(right))) return
    call left%close(closing)
  end subroutine assign_nothing

  impure elemental subroutine finalize(self)
    type(climlink_emulator), intent(inout) :: self
    type(climlink_status) :: closing

    call self%close(closing)
  end subroutine finalize

end module climlink_emulators
