!> The emulator in the embedded model: which variables the host has for it, its lagged inputs, the
!! state it carries, and what of its answer is applied.
!! Uses the public Fortran modules only, as any host would.
module aqua_hybrid
  use aqua_column_table, only: column_table, input_columns, name_length, output_columns
  use aqua_constants, only: r8
  use climlink, only: climlink_emulator, climlink_status
  use climlink_carried_state, only: climlink_carried
  use climlink_coupling, only: climlink_blend, climlink_coupling_policy
  use climlink_lagged_memory, only: climlink_lags
  use climlink_humidity, only: relative_humidity
  use host_parallel, only: first_column, gather_columns, world
  implicit none (type, external)
  private

  public :: hybrid_physics, coupling_state

  !> Inputs that are made on demand: relative humidity, cosine and sine of latitude, and the number
  !! of the column from 1.
  character(len=*), parameter :: derived_inputs(4) = [character(len=name_length) :: 'state_rh', &
    'clat', 'slat', 'icol']

  !> What a restart keeps of the coupling, of all columns [number, column]; not allocated: nothing.
  type :: coupling_state
    real(r8), allocatable :: lags(:, :)
    real(r8), allocatable :: carried(:, :)
  end type coupling_state

  type :: hybrid_physics
    type(climlink_coupling_policy) :: policy
    type(climlink_emulator) :: emulator
    type(climlink_lags) :: lags
    type(climlink_carried) :: carried
    logical :: has_emulator = .false.
    logical :: has_lags = .false.
    integer :: step = 0                          !! Of the host, from 1.
    integer :: n_level = 0
    real(r8) :: time_step = 0.0_r8               !! [s]
    real(r8), allocatable :: latitude(:)         !! [column of this rank], rad
    integer :: first_column = 1                  !! Number of this rank's first column.
  contains
    procedure :: open => open_package
    procedure :: begin
    procedure :: needs_reference
    procedure :: needs_emulator
    procedure :: shadows
    procedure :: reference_feeds_back
    procedure :: run
    procedure :: combine
    procedure :: other
    procedure :: finish
    procedure :: gather
    procedure :: scatter
    procedure, private :: set_input
    procedure, private :: check_inputs
    procedure, private :: get_outputs
  end type hybrid_physics

contains

  !> Opens the package on all ranks. error is '' or says what the package wants that this host has
  !! not.
  subroutine open_package(self, path, pinned_sha256, device, threads, micro_batch, &
                          constraints_off, policy, inputs, outputs, latitude, time_step, error)
    class(hybrid_physics), intent(inout) :: self
    character(len=*), intent(in) :: path
    character(len=*), intent(in) :: pinned_sha256             !! '' if any package will do
    character(len=*), intent(in) :: device
    integer, intent(in) :: threads, micro_batch
    character(len=*), intent(in) :: constraints_off(:)        !! Constraints of the package to leave
                                                              !! out; blank ones do not count.
    type(climlink_coupling_policy), intent(in) :: policy
    type(input_columns), intent(in) :: inputs                 !! Of this rank's columns.
    type(output_columns), intent(in) :: outputs               !! What the host needs of a package.
    real(r8), intent(in) :: latitude(:)                       !! [column of this rank], rad
    real(r8), intent(in) :: time_step                         !! [s]
    character(len=:), allocatable, intent(out) :: error
    type(climlink_status) :: status
    character(len=:), allocatable :: pinned

    error = ''
    self%n_level = inputs%n_level
    self%time_step = time_step
    self%latitude = latitude
    self%first_column = first_column(inputs%n_column)
    self%policy = policy
    if (len(pinned_sha256) > 0) pinned = pinned_sha256         ! not allocated is not present
    call self%emulator%open(path, status, comm=world(), n_level=self%n_level, time_step=time_step, &
                            device=device, threads=threads, micro_batch=micro_batch, &
                            pinned_sha256=pinned, constraints_off=constraints_off)
    if (status%ok()) call policy%check(self%emulator, status)
    if (status%ok()) call self%emulator%require_columns(status)
    if (status%ok()) call self%carried%initialize(self%emulator, inputs%n_column, status)
    if (.not. status%ok()) then
      error = status%message
      return
    end if
    self%has_emulator = .true.
    call self%lags%initialize(inputs%n_column, self%n_level, time_step)
    call self%check_inputs(inputs, outputs, path, error)
  end subroutine open_package

  !> Every input of the package must be one of the host's, and every output one that the host
  !! applies.
  subroutine check_inputs(self, inputs, outputs, path, error)
    class(hybrid_physics), intent(inout) :: self
    type(input_columns), intent(in) :: inputs
    type(output_columns), intent(in) :: outputs
    character(len=*), intent(in) :: path
    character(len=:), allocatable, intent(out) :: error
    character(len=:), allocatable :: name, missing, doubled, units
    logical :: is_of_host
    integer :: i

    missing = ''
    doubled = ''
    units = ''
    do i = 1, self%emulator%n_input()
      name = self%emulator%input_name(i)
      is_of_host = any(inputs%variables%name == name) .or. any(derived_inputs == name) .or. self%lags%has(name)
      if (self%carried%owns(name)) then
        if (is_of_host) doubled = doubled // ' ' // name
      else if (self%lags%has(name)) then
        self%has_lags = .true.
      else if (.not. is_of_host) then
        missing = missing // ' ' // name
      end if
      call compare_units(inputs, name, self%emulator%input_units(i), units)
    end do
    do i = 1, self%emulator%n_output()
      call compare_units(outputs, self%emulator%output_name(i), self%emulator%output_units(i), units)
    end do
    error = ''
    if (len(missing) > 0) error = path // ': this host cannot provide the inputs' // missing
    if (len(doubled) > 0) then
      error = path // ': a carried variable that the host also sets:' // doubled // &
              ': give it another name in the package'
    end if
    if (len(error) == 0 .and. len(units) > 0) error = path // ': this host has other units:' &
      // units
    missing = ''
    do i = 1, size(outputs%variables)
      if (.not. self%emulator%has_output(trim(outputs%variables(i)%name))) missing = missing // &
        ' ' // trim(outputs%variables(i)%name)
    end do
    if (len(error) == 0 .and. len(missing) > 0) error = path // ': the package lacks the outputs' &
      // missing
    if (len(error) == 0 .and. self%has_lags .and. self%policy%spin_up_steps < 2) then
      error = path &
        // ': lagged inputs need two steps of the reference physics first: set spin_up_steps ' // &
        'to 2 or more in /emulator/'
    end if
  end subroutine check_inputs

  !> Adds to text what the package has in other units than a table.
  subroutine compare_units(table, name, wanted, text)
    class(column_table), intent(in) :: table
    character(len=*), intent(in) :: name, wanted
    character(len=:), allocatable, intent(inout) :: text
    integer :: at

    at = findloc(table%variables%name, name, dim=1)
    if (at == 0) return
    if (table%variables(at)%units == wanted) return
    text = text // ' ' // name // ' in ' // trim(table%variables(at)%units) // ', not ' // wanted &
      // ';'
  end subroutine compare_units

  !> Starts a step of the host: its number from the start of the case decides on spin-up and ramps.
  subroutine begin(self, step, inputs)
    class(hybrid_physics), intent(inout) :: self
    integer, intent(in) :: step
    type(input_columns), intent(in) :: inputs
    real(r8) :: scalars(inputs%n_column, 5)

    self%step = step
    ! What an emulator carried is of the step before only.
    if (.not. self%needs_emulator()) call self%carried%begin_again()
    if (.not. self%has_lags) return
    scalars(:, 1) = inputs%ps
    scalars(:, 2) = inputs%solin
    scalars(:, 3) = inputs%lhflx
    scalars(:, 4) = inputs%shflx
    scalars(:, 5) = inputs%coszrs
    call self%lags%begin_step(transpose(inputs%t), waters(inputs%q, inputs%qc, inputs%qi), &
                              transpose(inputs%u), scalars)
  end subroutine begin

  !> Vapour, liquid and ice [column, level, 3].
  pure function waters(vapor, liquid, ice) result(q)
    real(r8), intent(in) :: vapor(:, :), liquid(:, :), ice(:, :)      !! [level, column]
    real(r8) :: q(size(vapor, 2), size(vapor, 1), 3)

    q(:, :, 1) = transpose(vapor)
    q(:, :, 2) = transpose(liquid)
    q(:, :, 3) = transpose(ice)
  end function waters

  !> Ends a step with the tendencies that were applied: the lagged memory keeps the realised change,
  !! limiter and blend included.
  subroutine finish(self, inputs, applied)
    class(hybrid_physics), intent(inout) :: self
    type(input_columns), intent(in) :: inputs
    type(output_columns), intent(in) :: applied

    if (.not. self%has_lags) return
    associate (dt => self%time_step)
      call self%lags%end_step(transpose(inputs%t + dt * applied%dtdt), &
                              waters(inputs%q + dt * applied%dqdt, inputs%qc + dt * applied%dqcdt, &
                                     inputs%qi + dt * applied%dqidt), &
                              transpose(inputs%u + dt * applied%dudt))
    end associate
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

  !> Whether nothing but the reference physics is applied in this step.
  pure function reference_feeds_back(self) result(yes)
    class(hybrid_physics), intent(in) :: self
    logical :: yes

    yes = .not. self%needs_emulator()
    if (self%shadows()) yes = self%policy%feedback == 'reference'
  end function reference_feeds_back

  !> Sends this rank's columns through the emulator. error is '' or names rank, column and variable.
  subroutine run(self, inputs, emulated, error)
    class(hybrid_physics), intent(inout) :: self
    type(input_columns), intent(in) :: inputs
    type(output_columns), intent(inout) :: emulated
    character(len=:), allocatable, intent(out) :: error
    type(climlink_status) :: status
    character(len=:), allocatable :: name
    integer :: i

    call self%emulator%begin(inputs%n_column, status)
    do i = 1, self%emulator%n_input()
      name = self%emulator%input_name(i)
      if (status%ok() .and. .not. self%carried%owns(name)) call self%set_input(name, inputs, status)
    end do
    if (status%ok() .and. self%carried%has_state()) call self%carried%send(self%emulator, status)
    if (status%ok()) call self%emulator%run(status)
    if (status%ok()) call self%get_outputs(emulated, status)
    if (status%ok() .and. self%carried%has_state()) call self%carried%receive(self%emulator, status)
    error = ''
    if (.not. status%ok()) error = status%message
  end subroutine run

  subroutine get_outputs(self, emulated, status)
    class(hybrid_physics), intent(in) :: self
    type(output_columns), intent(inout) :: emulated
    type(climlink_status), intent(out) :: status
    real(r8) :: values(emulated%n_column, self%n_level)
    integer :: i, first, last

    do i = 1, size(emulated%variables)
      first = emulated%variables(i)%first
      last = emulated%variables(i)%last
      if (status%ok() .and. first == last) call self%emulator%get(trim(emulated%variables(i)%name), &
                                                                  values(:, 1), 1, status)
      if (status%ok() .and. first < last) call self%emulator%get(trim(emulated%variables(i)%name), values, &
                                                                 1, status)
      if (status%ok()) emulated%values(first:last, :) = transpose(values(:, :last - first + 1))
    end do
  end subroutine get_outputs

  !> Gives the emulator one of its inputs: from the columns, the lagged memory, or made here.
  subroutine set_input(self, name, inputs, status)
    class(hybrid_physics), intent(inout) :: self
    character(len=*), intent(in) :: name
    type(input_columns), intent(in) :: inputs
    type(climlink_status), intent(out) :: status
    real(r8) :: values(inputs%n_column, self%n_level)
    logical :: is_profile
    integer :: at, i

    at = findloc(inputs%variables%name, name, dim=1)
    is_profile = .true.
    if (at > 0) then
      is_profile = inputs%variables(at)%has_levels
      associate (rows => inputs%values(inputs%variables(at)%first:inputs%variables(at)%last, :))
        values(:, :size(rows, 1)) = transpose(rows)
      end associate
    else if (self%lags%has(name)) then
      is_profile = self%lags%width(name) > 1
      call self%lags%get(name, values(:, :self%lags%width(name)), status)
    else if (name == 'state_rh') then
      values = transpose(relative_humidity(inputs%t, inputs%q, inputs%p_mid))
    else
      is_profile = .false.
      if (name == 'clat') values(:, 1) = cos(self%latitude)
      if (name == 'slat') values(:, 1) = sin(self%latitude)
      if (name == 'icol') values(:, 1) = [(real(self%first_column + i - 1, r8), i = 1, &
                                           inputs%n_column)]
    end if
    if (.not. status%ok()) return
    if (is_profile) then
      call self%emulator%set(name, values, 1, status)
    else
      call self%emulator%set(name, values(:, 1), 1, status)
    end if
  end subroutine set_input

  !> What is applied of both answers, as the policy says for each output of this step.
  pure subroutine combine(self, reference, emulated, applied)
    class(hybrid_physics), intent(in) :: self
    type(output_columns), intent(in) :: reference
    type(output_columns), intent(in) :: emulated
    type(output_columns), intent(inout) :: applied
    integer :: i, first, last

    if (.not. self%has_emulator) then
      applied%values = reference%values
      return
    end if
    do i = 1, size(reference%variables)
      first = reference%variables(i)%first
      last = reference%variables(i)%last
      applied%values(first:last, :) = climlink_blend( &
        reference%values(first:last, :), emulated%values(first:last, :), &
        self%policy%weight_of(trim(reference%variables(i)%name), self%step))
    end do
  end subroutine combine

  !> In shadow mode, the answer that is not applied.
  pure function other(self, reference, emulated) result(values)
    class(hybrid_physics), intent(in) :: self
    type(output_columns), intent(in) :: reference
    type(output_columns), intent(in) :: emulated
    real(r8), allocatable :: values(:, :)

    if (self%policy%feedback == 'emulator') then
      values = reference%values
    else
      values = emulated%values
    end if
  end function other

  !> What a restart keeps, of all columns on rank 0. Collective.
  subroutine gather(self, state)
    class(hybrid_physics), intent(in) :: self
    type(coupling_state), intent(out) :: state
    real(r8), allocatable :: mine(:, :)

    if (self%has_lags) then
      allocate (mine(self%lags%state_size(), size(self%latitude)))
      call self%lags%pack_state(mine)
      call gather_rows(mine, state%lags)
      deallocate (mine)
    end if
    if (self%carried%has_state()) then
      allocate (mine(self%carried%state_size(), size(self%latitude)))
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

    last = first + size(self%latitude) - 1
    if (allocated(state%lags)) call self%lags%unpack_state(state%lags(:, first:last), status)
    if (status%ok() .and. allocated(state%carried)) then
      call self%carried%unpack_state(state%carried(:, first:last), status)
    end if
    error = ''
    if (.not. status%ok()) error = status%message
  end subroutine scatter

end module aqua_hybrid
