!> The emulator in the embedded model: the host's one table of what it gives and takes, lagged
!! inputs, the state that a package carries, and what of its answer is applied.
!! Uses the public Fortran modules only, as any host would.
module aqua_hybrid
  use aqua_column_table, only: host_columns, input_columns, output_columns, place_columns
  use aqua_constants, only: r8
  use aqua_levels, only: hybrid_levels, interface_pressure, reference_pressure
  use climlink, only: climlink_emulator, climlink_error_group, climlink_host_fields, &
                      climlink_options, climlink_status
  use climlink_carried_state, only: climlink_carried
  use climlink_coupling, only: climlink_blend, climlink_coupling_policy
  use climlink_host_settings, only: climlink_emulator_settings
  use climlink_lagged_memory, only: climlink_lags
  use climlink_vertical_remap, only: climlink_remap
  use host_parallel, only: end_from_here, first_column, gather_columns, world
  implicit none (type, external)
  private

  public :: hybrid_physics, coupling_state

  !> What a restart keeps of the coupling, of all columns [number, column]; not allocated: nothing.
  type :: coupling_state
    real(r8), allocatable :: lags(:, :)
    real(r8), allocatable :: carried(:, :)
  end type coupling_state

  !> The tables are of this rank's columns.
  type :: hybrid_physics
    type(climlink_coupling_policy) :: policy
    type(climlink_emulator) :: emulator
    type(climlink_host_fields) :: fields         !! What the host gives and takes.
    type(climlink_lags) :: lags
    type(climlink_host_fields) :: fields_after   !! The state after a step, for lags.
    type(climlink_carried) :: carried
    type(climlink_remap) :: remap                !! Active where the package has other levels.
    type(hybrid_levels) :: levels                !! Of the host.
    real(r8), allocatable :: p_interface(:, :)   !! [column, level + 1], Pa, for the remap.
    type(input_columns) :: inputs
    type(input_columns) :: after                 !! Has values where the package takes lagged
                                                 !! inputs.
    type(place_columns) :: places
    type(output_columns) :: emulated             !! What the emulator answered.
    logical :: has_emulator = .false.
    logical :: has_lags = .false.
    logical :: has_range_policy = .false.
    integer :: step = 0                          !! Of the host, from 1.
    real(r8) :: time_step = 0.0_r8               !! [s]
  contains
    procedure :: open => open_package
    procedure :: begin, needs_reference, needs_emulator, shadows, feeds_back, reference_feeds_back
    procedure :: run, range_use, combine, other, finish, gather, scatter
    procedure, private :: declare, find_interfaces
  end type hybrid_physics

contains

  !> Opens the package on all ranks. error is '' or says what does not fit.
  subroutine open_package(self, wanted, levels, inputs, latitude, time_step, error)
    class(hybrid_physics), intent(inout), target :: self      !! Stays where it is.
    type(climlink_emulator_settings), intent(in) :: wanted
    type(hybrid_levels), intent(in) :: levels
    type(input_columns), intent(in) :: inputs                 !! Of this rank's columns; every step
                                                              !! takes its values from there.
    real(r8), intent(in) :: latitude(:)                       !! [column of this rank], rad
    real(r8), intent(in) :: time_step                         !! [s]
    character(len=:), allocatable, intent(out) :: error
    type(climlink_status) :: status
    type(climlink_options) :: options
    integer, allocatable :: n_level                           !! Not allocated is not present.

    self%time_step = time_step
    self%inputs = inputs
    self%levels = levels
    self%policy = wanted%policy()
    self%policy%reference_pressure = reference_pressure(levels)
    if (wanted%vertical_remap == 'none') n_level = inputs%n_level
    options = wanted%options()
    call options%set('column_count', inputs%n_column)
    call self%emulator%open(trim(wanted%package), status, comm=world, n_level=n_level, &
                            time_step=time_step, options=options)
    if (status%ok()) then
      call self%remap%initialize_from(self%emulator, wanted%vertical_remap, status)
    end if
    if (status%ok()) call self%policy%check(self%emulator, status)
    if (status%ok()) call self%carried%initialize(self%emulator, inputs%n_column, status)
    if (status%ok()) call self%lags%initialize(inputs%n_column, inputs%n_level, time_step, status)
    if (status%ok()) then
      self%has_emulator = .true.
      self%has_lags = self%lags%serves(self%emulator)
      self%has_range_policy = self%emulator%has_range_policy()
      call self%declare(latitude)
      call self%fields%check(self%emulator, status, wanted%spin_up_steps, &
                             'spin_up_steps in /emulator/')
    end if
    error = ''
    if (.not. status%ok()) error = status%message
  end subroutine open_package

  !> Declares what the host has. Collective.
  subroutine declare(self, latitude)
    class(hybrid_physics), intent(inout), target :: self
    real(r8), intent(in) :: latitude(:)
    integer :: i, first

    associate (n_level => self%inputs%n_level, n_column => self%inputs%n_column)
      first = first_column(n_column)
      call self%emulated%make(n_level, n_column)
      call self%places%make(n_level, n_column)
      call self%after%make(n_level, merge(n_column, 0, self%has_lags))
      if (allocated(self%p_interface)) deallocate (self%p_interface)
      allocate (self%p_interface(n_column, n_level + 1))
      call self%fields%begin(n_column)
      call self%fields%remap_levels(self%remap, self%p_interface)
      call self%fields_after%begin(n_column)
    end associate
    self%places%clat = cos(latitude)
    self%places%slat = sin(latitude)
    self%places%icol = [(real(first + i - 1, r8), i = 1, size(latitude))]
    call self%inputs%add_to(self%fields)
    call self%inputs%add_humidity_to(self%fields)
    call self%places%add_to(self%fields)
    call self%lags%add_to(self%fields)
    call self%emulated%add_to(self%fields, taken=.true.)
    if (self%has_lags) call self%after%add_to(self%fields_after)
  end subroutine declare

  !> Starts a step of the host: its number from the start of the case decides on spin-up and ramps.
  subroutine begin(self, step)
    class(hybrid_physics), intent(inout) :: self
    integer, intent(in) :: step

    self%step = step
    ! What an emulator carried is of the step before only.
    if (.not. self%needs_emulator()) call self%carried%begin_again()
    if (self%has_lags) call self%lags%begin_step(self%fields)
  end subroutine begin

  !> Ends a step with the tendencies that were applied: the lagged memory keeps the realised change,
  !! limiter and blend included.
  subroutine finish(self, applied)
    class(hybrid_physics), intent(inout) :: self
    type(output_columns), intent(in) :: applied

    if (.not. self%has_lags) return
    associate (before => self%inputs, after => self%after, dt => self%time_step)
      after%t = before%t + dt * applied%dtdt
      after%q = before%q + dt * applied%dqdt
      after%qc = before%qc + dt * applied%dqcdt
      after%qi = before%qi + dt * applied%dqidt
      after%u = before%u + dt * applied%dudt
    end associate
    call self%lags%end_step(self%fields_after)
  end subroutine finish

  pure function needs_reference(self) result(yes)
    class(hybrid_physics), intent(in) :: self
    logical :: yes

    yes = .true.
    if (self%has_emulator) yes = self%policy%needs_reference(self%step)
  end function needs_reference

  pure function needs_emulator(self) result(yes)
    class(hybrid_physics), intent(in) :: self
    logical :: yes

    yes = .false.
    if (self%has_emulator) yes = self%policy%needs_emulator(self%step)
  end function needs_emulator

  !> Whether both run in this step and one is only recorded.
  pure function shadows(self) result(yes)
    class(hybrid_physics), intent(in) :: self
    logical :: yes

    yes = .false.
    if (self%has_emulator) yes = self%policy%is_shadow(self%step)
  end function shadows

  !> Whether what an emulator answers is applied in some steps of the run.
  pure function feeds_back(self) result(yes)
    class(hybrid_physics), intent(in) :: self
    logical :: yes

    yes = self%has_emulator
    if (self%policy%mode == 'shadow') yes = yes .and. self%policy%feedback == 'emulator'
  end function feeds_back

  !> Whether nothing but the reference physics is applied in this step.
  pure function reference_feeds_back(self) result(yes)
    class(hybrid_physics), intent(in) :: self
    logical :: yes

    yes = .not. (self%feeds_back() .and. self%needs_emulator())
  end function reference_feeds_back

  !> Sends this rank's columns through the emulator. error is '' or names rank, column and variable.
  subroutine run(self, error)
    class(hybrid_physics), intent(inout) :: self
    character(len=:), allocatable, intent(out) :: error
    type(climlink_status) :: status

    call self%find_interfaces()
    call self%emulator%begin(self%inputs%n_column, status)
    if (status%ok()) call self%fields%send(self%emulator, status)
    if (status%ok() .and. self%carried%has_state()) call self%carried%send(self%emulator, status)
    if (status%ok()) call self%emulator%run(status)
    if (status%ok()) call self%fields%receive(self%emulator, status)
    if (status%ok() .and. self%carried%has_state()) call self%carried%receive(self%emulator, status)
    if (status%code == climlink_error_group) call end_from_here(status%message)
    error = ''
    if (.not. status%ok()) error = status%message
  end subroutine run

  !> How much the range policy of the package holds this rank's columns in this step, after run;
  !! zero where nothing of the emulator is applied. error is '' or says what failed.
  subroutine range_use(self, added, error)
    class(hybrid_physics), intent(inout) :: self
    type(host_columns), intent(inout) :: added
    character(len=:), allocatable, intent(out) :: error
    type(climlink_status) :: status

    error = ''
    if (.not. self%has_range_policy) return
    if (self%reference_feeds_back()) then
      added%range_clipped = 0.0_r8
      added%range_heating = 0.0_r8
      added%range_mass_share = 0.0_r8
    else
      call self%emulator%range_use(added%range_clipped, added%range_heating, &
                                   added%range_mass_share, status)
      if (status%code == climlink_error_group) call end_from_here(status%message)
      if (.not. status%ok()) error = status%message
    end if
  end subroutine range_use

  !> Where the layers of this step are, if the package has others.
  pure subroutine find_interfaces(self)
    class(hybrid_physics), intent(inout) :: self
    integer :: i

    if (.not. self%remap%is_active()) return
    do i = 1, self%inputs%n_column
      self%p_interface(i, :) = interface_pressure(self%levels, self%inputs%ps(i))
    end do
  end subroutine find_interfaces

  !> What is applied of both answers, as the policy says for each output and level of this step.
  pure subroutine combine(self, reference, applied)
    class(hybrid_physics), intent(in) :: self
    type(output_columns), intent(in) :: reference
    type(output_columns), intent(inout) :: applied
    real(r8), allocatable :: weights(:)                       !! [row of the output]
    integer :: i

    if (.not. self%has_emulator) then
      applied%values = reference%values
      return
    end if
    do i = 1, size(reference%variables)
      associate (of => reference%variables(i))
        if (of%has_levels) then
          weights = self%policy%level_weights(of%name, self%step)
        else
          weights = [self%policy%weight_of(of%name, self%step)]
        end if
        applied%values(of%first:of%last, :) = climlink_blend( &
          reference%values(of%first:of%last, :), self%emulated%values(of%first:of%last, :), &
          spread(weights, 2, reference%n_column))
      end associate
    end do
  end subroutine combine

  !> In shadow mode, the answer that is not applied [row, column].
  pure function other(self, reference) result(values)
    class(hybrid_physics), intent(in) :: self
    type(output_columns), intent(in) :: reference
    real(r8), allocatable :: values(:, :)

    if (self%policy%feedback == 'emulator') then
      values = reference%values
    else
      values = self%emulated%values
    end if
  end function other

  !> What a restart keeps, of all columns on rank 0. Collective.
  subroutine gather(self, state)
    class(hybrid_physics), intent(in) :: self
    type(coupling_state), intent(out) :: state
    real(r8), allocatable :: mine(:, :)

    if (self%has_lags) then
      allocate (mine(self%lags%state_size(), self%inputs%n_column))
      call self%lags%pack_state(mine)
      call gather_rows(mine, state%lags)
      deallocate (mine)
    end if
    if (self%carried%has_state()) then
      allocate (mine(self%carried%state_size(), self%inputs%n_column))
      call self%carried%pack_state(mine)
      call gather_rows(mine, state%carried)
    end if
  end subroutine gather

  !> The vectors [number, column] of all ranks' columns, in order, on rank 0. Collective.
  subroutine gather_rows(mine, state)
    real(r8), intent(in) :: mine(:, :)
    real(r8), allocatable, intent(out) :: state(:, :)
    real(r8), allocatable :: all_columns(:, :)

    call gather_columns(transpose(mine), all_columns)
    state = transpose(all_columns)
  end subroutine gather_rows

  !> Goes on from the state of all columns, of which this rank takes its own, from first on. What
  !! the restart has not begins anew. error is '' or says why the numbers cannot be a state.
  subroutine scatter(self, state, first, error)
    class(hybrid_physics), intent(inout) :: self
    type(coupling_state), intent(in) :: state
    integer, intent(in) :: first
    character(len=:), allocatable, intent(out) :: error
    type(climlink_status) :: status
    integer :: last

    last = first + self%inputs%n_column - 1
    if (allocated(state%lags)) call self%lags%unpack_state(state%lags(:, first:last), status)
    if (status%ok() .and. allocated(state%carried)) then
      call self%carried%unpack_state(state%carried(:, first:last), status)
    end if
    error = ''
    if (.not. status%ok()) error = status%message
  end subroutine scatter

end module aqua_hybrid
