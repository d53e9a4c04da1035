!> Everything that happens in columns during a step, on this rank's share of them: the emulated part
!! (reference physics, emulator, or a blend of both), then the host's surface fluxes and boundary
!! layer. The results of all ranks are then brought to every rank.
module aqua_column_step
  use, intrinsic :: ieee_arithmetic, only: ieee_quiet_nan, ieee_value
  use aqua_boundary_layer, only: surface_and_boundary_layer
  use aqua_column_physics, only: reference_physics
  use aqua_column_table, only: column_table, make_table, name_length, output_profiles, &
                               output_scalars, output_table
  use aqua_column_types, only: allocate_inputs, allocate_outputs, column_inputs, column_outputs, &
                               physics_parameters
  use aqua_constants, only: gravity, r8
  use aqua_hybrid, only: hybrid_physics
  use aqua_levels, only: hybrid_levels, interface_pressure
  use host_parallel, only: agree, complete_shares, share_of
  implicit none (type, external)
  private

  public :: column_worker

  !> What the host itself adds after the emulated part, over one step.
  character(len=*), parameter, public :: host_profiles(4) = &
    [character(len=name_length) :: 'host_t', 'host_q0001', 'host_u', &
    'host_v']

  !> Fluxes of this step that the next step's emulated part reads; top-of-atmosphere fluxes and
  !! other diagnostics [column].
  character(len=*), parameter, public :: host_scalars(10) = &
    [character(len=name_length) :: 'pbuf_LHFLX', 'pbuf_SHFLX', &
    'pbuf_TAUX', 'pbuf_TAUY', 'FSNT', 'FLUT', 'FLNS', 'PRECL', 'limiter_water', 'limited_cells']

  !> A species of which all is taken may lack this share of itself, by rounding.
  real(r8), parameter :: round_off = 1.0e-12_r8

  type :: column_worker
    integer :: first = 1                        !! First column of this rank.
    integer :: count = 0
    type(column_table) :: results               !! Of all columns: outputs of the emulated part,
                                                !! host profiles and scalars.
    type(column_table) :: shadow                !! Of all columns: outputs of the part that does not
                                                !! feed back, in shadow mode.
    type(column_table) :: inputs                !! This rank's columns.
    type(column_table) :: reference, emulated   !! This rank's columns.
    type(column_table) :: applied               !! This rank's columns: what of both feeds back.
    type(column_inputs) :: column
    type(column_outputs) :: outcome
    ! Rows of results, looked up once.
    integer :: first_scalar = 0                 !! cam_out_NETSW
    integer :: host_rows = 0                    !! host_t
    integer :: flux_rows = 0                    !! pbuf_LHFLX
    integer :: diagnostic_rows = 0              !! FSNT
    integer :: limiter_rows = 0                 !! limiter_water, then limited_cells
  contains
    procedure :: initialize
    procedure :: step
    procedure, private :: run_reference
    procedure, private :: finish_column
  end type column_worker

contains

  subroutine initialize(self, inputs)
    class(column_worker), intent(inout) :: self
    type(column_table), intent(in) :: inputs       !! Of all columns, as input_table made it.
    integer :: n_level, n

    n_level = inputs%width(1)
    n = inputs%n_column
    call share_of(n, self%first, self%count)
    self%results = make_table([output_profiles, host_profiles], [output_scalars, host_scalars], &
                              n_level, n)
    self%first_scalar = self%results%row('cam_out_NETSW')
    self%host_rows = self%results%row('host_t')
    self%flux_rows = self%results%row('pbuf_LHFLX')
    self%diagnostic_rows = self%results%row('FSNT')
    self%limiter_rows = self%results%row('limiter_water')
    self%shadow = output_table(n_level, n)
    self%inputs = inputs
    self%inputs%n_column = self%count
    self%reference = output_table(n_level, self%count)
    self%emulated = output_table(n_level, self%count)
    self%applied = output_table(n_level, self%count)
    call allocate_inputs(n_level, self%column)
    call allocate_outputs(n_level, self%outcome)
  end subroutine initialize

  !> One step of all columns. error is '' or names rank, column and variable; it may differ between
  !! ranks.
  subroutine step(self, step_number, levels, parameters, inputs, sea_surface_temperature, dt, &
                  hybrid, error)
    class(column_worker), intent(inout) :: self
    integer, intent(in) :: step_number                              !! From the start of the case.
    type(hybrid_levels), intent(in) :: levels
    type(physics_parameters), intent(in) :: parameters
    type(column_table), intent(in) :: inputs                        !! Of all columns.
    real(r8), intent(in) :: sea_surface_temperature(:)              !! [column], K
    real(r8), intent(in) :: dt                                      !! [s]
    type(hybrid_physics), intent(inout) :: hybrid
    character(len=:), allocatable, intent(out) :: error
    character(len=100) :: where
    integer :: i

    error = ''
    self%inputs%values = inputs%values(:, self%first:self%first + self%count - 1)
    call hybrid%begin(step_number, self%inputs)
    if (hybrid%needs_reference()) then
      call self%run_reference(levels, parameters, dt)
    else
      ! An emulator does not say what crosses the top of the atmosphere: not known is not zero.
      self%results%values(self%diagnostic_rows:self%diagnostic_rows + 3, :) = ieee_value(1.0_r8, &
        ieee_quiet_nan)
    end if
    if (hybrid%needs_emulator()) then
      call hybrid%run(self%inputs, self%emulated, error)
      write (where, '(2(a,i0),a)') ' (column 0 of this rank is column ', self%first - 1, &
        ' of the ', inputs%n_column, ' of the model)'
      if (len(error) > 0) error = error // trim(where)
    end if
    call agree(error)
    if (len(error) > 0) return
    call hybrid%combine(self%reference, self%emulated, self%applied)
    do i = 1, self%count
      call self%finish_column(levels, sea_surface_temperature(self%first + i - 1), dt, i)
    end do
    call hybrid%finish(self%inputs, self%applied)
    if (hybrid%shadows()) then
      self%shadow%values(:, self%first:self%first + self%count - 1) = hybrid%other(self%reference, &
        self%emulated)
    end if
    call complete_shares(size(self%results%values, 1), self%results%n_column, self%results%values)
    if (hybrid%shadows()) call complete_shares(size(self%shadow%values, 1), self%shadow%n_column, &
                                               self%shadow%values)
  end subroutine step

  !> The reference physics of this rank's columns, into reference and the diagnostics of results.
  subroutine run_reference(self, levels, parameters, dt)
    class(column_worker), intent(inout) :: self
    type(hybrid_levels), intent(in) :: levels
    type(physics_parameters), intent(in) :: parameters
    real(r8), intent(in) :: dt
    integer :: i, n

    n = levels%n_level
    do i = 1, self%count
      call take_column(levels, self%inputs%values(:, i), self%column)
      call reference_physics(parameters, self%column, dt, self%outcome)
      associate (made => self%outcome, rows => self%reference%values(:, i))
        rows(:6 * n) = [made%dtdt, made%dqdt, made%dqcdt, made%dqidt, made%dudt, made%dvdt]
        rows(6 * n + 1:) = [made%netsw, made%flwds, made%precsc, made%precc, made%sols, made%soll, &
                            made%solsd, made%solld]
        associate (at => self%diagnostic_rows)
          self%results%values(at:at + 3, self%first + i - 1) = [made%fsnt, made%flut, made%flns, &
                                                                made%precl]
        end associate
      end associate
    end do
  end subroutine run_reference

  !> Unpacks one column of an input table; the order is that of input_profiles and input_scalars.
  pure subroutine take_column(levels, rows, column)
    type(hybrid_levels), intent(in) :: levels
    real(r8), intent(in) :: rows(:)
    type(column_inputs), intent(inout) :: column
    integer :: n, at

    n = levels%n_level
    at = 10 * n
    column%t = rows(:n)
    column%q = rows(n + 1:2 * n)
    column%qc = rows(2 * n + 1:3 * n)
    column%qi = rows(3 * n + 1:4 * n)
    column%u = rows(4 * n + 1:5 * n)
    column%v = rows(5 * n + 1:6 * n)
    column%p_mid = rows(6 * n + 1:7 * n)
    column%ozone = rows(7 * n + 1:8 * n)
    column%ch4 = rows(8 * n + 1:9 * n)
    column%n2o = rows(9 * n + 1:10 * n)
    column%ps = rows(at + 1)
    column%solin = rows(at + 2)
    column%lhflx = rows(at + 3)
    column%shflx = rows(at + 4)
    column%taux = rows(at + 5)
    column%tauy = rows(at + 6)
    column%coszrs = rows(at + 7)
    column%aldif = rows(at + 8)
    column%aldir = rows(at + 9)
    column%asdif = rows(at + 10)
    column%asdir = rows(at + 11)
    column%lwup = rows(at + 12)
    column%p_int = interface_pressure(levels, column%ps)
    column%dp = column%p_int(2:) - column%p_int(:n)
  end subroutine take_column

  !> Keeps water positive, and adds what the host itself does, for the i-th column of this rank.
  subroutine finish_column(self, levels, sea_surface_temperature, dt, i)
    class(column_worker), intent(inout) :: self
    type(hybrid_levels), intent(in) :: levels
    real(r8), intent(in) :: sea_surface_temperature
    real(r8), intent(in) :: dt
    integer, intent(in) :: i
    real(r8) :: state(levels%n_level, 6), p_mid(levels%n_level), p_int(levels%n_level + 1), lhflx, &
                shflx, taux, tauy
    integer :: n, at

    n = levels%n_level
    at = self%host_rows
    associate (given => self%inputs%values(:, i), &
               made => self%results%values(:, self%first + i - 1))
      p_int = interface_pressure(levels, given(10 * n + 1))
      p_mid = given(6 * n + 1:7 * n)
      state = reshape(given(:6 * n), [n, 6])
      associate (added => made(self%limiter_rows), cells => made(self%limiter_rows + 1))
        call limit_water((p_int(2:) - p_int(:n)) / gravity, given(n + 1:4 * n), dt, &
                         self%applied%values(n + 1:4 * n, i), added, cells)
      end associate
      made(:6 * n) = self%applied%values(:6 * n, i)
      made(self%first_scalar:self%flux_rows - 1) = self%applied%values(6 * n + 1:, i)
      state = state + dt * reshape(made(:6 * n), [n, 6])
      call surface_and_boundary_layer(state(:, 1), state(:, 2), state(:, 5), state(:, 6), p_mid, &
                                      p_int, p_int(2:) - p_int(:n), sea_surface_temperature, dt, &
                                      made(at:at + n - 1), made(at + n:at + 2 * n - 1), &
                                      made(at + 2 * n:at + 3 * n - 1), &
                                      made(at + 3 * n:at + 4 * n - 1), lhflx, shflx, taux, tauy)
      at = self%flux_rows
      made(at:at + 3) = [lhflx, shflx, taux, tauy]
    end associate
  end subroutine finish_column

  !> Raises tendencies of water that would take more of a species than there is; counts cells and
  !! the water so made. The reference physics and a package with the positivity constraint leave
  !! nothing to do, but for blends of tendencies of both.
  pure subroutine limit_water(mass, water, dt, tendency, added, cells)
    real(r8), intent(in) :: mass(:)                  !! [level], kg/m2
    real(r8), intent(in) :: water(:)                 !! [level of vapour, of liquid, of ice], kg/kg
    real(r8), intent(in) :: dt                       !! [s]
    real(r8), intent(inout) :: tendency(:)           !! As water, per second
    real(r8), intent(out) :: added                   !! [kg/m2]
    real(r8), intent(out) :: cells
    real(r8) :: rest
    integer :: k, n

    n = size(mass)
    added = 0.0_r8
    cells = 0.0_r8
    do k = 1, 3 * n
      rest = water(k) + dt * tendency(k)
      if (rest >= -round_off * water(k)) cycle
      added = added - rest * mass(modulo(k - 1, n) + 1)
      cells = cells + 1.0_r8
      tendency(k) = -water(k) / dt
    end do
  end subroutine limit_water

end module aqua_column_step
