!> Everything that happens in columns during a step, on this rank's share of them: the emulated part
!! (reference physics, emulator, or a blend of both), then the host's surface fluxes and boundary
!! layer. The results of all ranks are then brought to every rank.
module aqua_column_step
  use, intrinsic :: ieee_arithmetic, only: ieee_quiet_nan, ieee_value
  use aqua_boundary_layer, only: surface_and_boundary_layer
  use aqua_column_physics, only: reference_physics
  use aqua_column_table, only: column_table, host_columns, input_columns, output_columns
  use aqua_column_types, only: allocate_outputs, column_inputs, column_outputs
  use aqua_constants, only: gravity, r8
  use aqua_hybrid, only: hybrid_physics
  use aqua_levels, only: hybrid_levels, interface_pressure
  use aqua_physics_settings, only: physics_parameters
  use host_parallel, only: agree, complete_shares, share_of
  implicit none (type, external)
  private

  public :: column_worker

  !> A species of which all is taken may lack this share of itself, by rounding.
  real(r8), parameter :: round_off = 1.0e-12_r8

  type :: column_worker
    integer :: first = 1                        !! First column of this rank.
    integer :: count = 0
    ! Of all columns.
    type(output_columns) :: results             !! What of the emulated part was applied.
    type(host_columns) :: host
    type(output_columns) :: shadow              !! Of the part that does not feed back, in shadow
                                                !! mode.
    ! This rank's columns, of the model's inputs and of the tables above.
    type(input_columns) :: inputs
    type(output_columns) :: applied
    type(host_columns) :: added
    type(output_columns) :: recorded
    type(output_columns) :: reference
    type(column_outputs) :: outcome
  contains
    procedure :: initialize, step
    procedure, private :: run_reference, finish_column
  end type column_worker

contains

  subroutine initialize(self, inputs)
    class(column_worker), intent(inout) :: self
    type(input_columns), intent(in) :: inputs      !! Of all columns; the steps take them from here.

    associate (n_level => inputs%n_level, n_column => inputs%n_column)
      call share_of(n_column, self%first, self%count)
      call self%results%make(n_level, n_column)
      call self%host%make(n_level, n_column)
      call self%shadow%make(n_level, n_column)
      call self%reference%make(n_level, self%count)
      call allocate_outputs(n_level, self%outcome)
    end associate
    call self%inputs%view(inputs, self%first, self%count)
    call self%applied%view(self%results, self%first, self%count)
    call self%added%view(self%host, self%first, self%count)
    call self%recorded%view(self%shadow, self%first, self%count)
  end subroutine initialize

  !> One step of all columns. error is '' or names rank, column and variable; it may differ between
  !! ranks.
  subroutine step(self, step_number, levels, parameters, sea_surface_temperature, dt, hybrid, error)
    class(column_worker), intent(inout) :: self
    integer, intent(in) :: step_number                              !! From the start of the case.
    type(hybrid_levels), intent(in) :: levels
    type(physics_parameters), intent(in) :: parameters
    real(r8), intent(in) :: sea_surface_temperature(:)              !! [column of all], K
    real(r8), intent(in) :: dt                                      !! [s]
    type(hybrid_physics), intent(inout) :: hybrid
    character(len=:), allocatable, intent(out) :: error
    character(len=100) :: where
    integer :: i

    error = ''
    call hybrid%begin(step_number)
    if (hybrid%needs_reference()) then
      call self%run_reference(levels, parameters, dt)
    else
      ! An emulator does not say what crosses the top of the atmosphere: not known is not zero.
      self%host%fsnt = ieee_value(1.0_r8, ieee_quiet_nan)
      self%host%flut = self%host%fsnt
    end if
    if (hybrid%needs_emulator()) then
      call hybrid%run(error)
      write (where, '(2(a,i0),a)') ' (column 1 of this rank is column ', self%first, ' of the ', &
        self%results%n_column, ' of the model)'
      if (len(error) > 0) error = error // trim(where)
    end if
    if (len(error) == 0) call hybrid%range_use(self%added, error)
    call agree(error)
    if (len(error) > 0) return
    call hybrid%combine(self%reference, self%applied)
    do i = 1, self%count
      call self%finish_column(levels, sea_surface_temperature(self%first + i - 1), dt, i)
    end do
    call hybrid%finish(self%applied)
    call share_results(self%results)
    call share_results(self%host)
    if (.not. hybrid%shadows()) return
    self%recorded%values = hybrid%other(self%reference)
    call share_results(self%shadow)
  end subroutine step

  !> Brings the shares of all ranks to every rank. Collective.
  subroutine share_results(table)
    class(column_table), intent(inout) :: table

    call complete_shares(size(table%values, 1), table%n_column, table%values)
  end subroutine share_results

  !> The reference physics of this rank's columns, into reference and the host's diagnostics.
  subroutine run_reference(self, levels, parameters, dt)
    class(column_worker), intent(inout) :: self
    type(hybrid_levels), intent(in) :: levels
    type(physics_parameters), intent(in) :: parameters
    real(r8), intent(in) :: dt
    integer :: i

    do i = 1, self%count
      call reference_physics(parameters, column_of(levels, self%inputs, i), dt, self%outcome)
      call put_column(self%outcome, i, self%reference)
      self%added%fsnt(i) = self%outcome%fsnt
      self%added%flut(i) = self%outcome%flut
    end do
  end subroutine run_reference

  !> The i-th column of a table.
  pure function column_of(levels, inputs, i) result(column)
    type(hybrid_levels), intent(in) :: levels
    type(input_columns), intent(in) :: inputs
    integer, intent(in) :: i
    type(column_inputs) :: column
    real(r8) :: p_int(levels%n_level + 1)

    p_int = interface_pressure(levels, inputs%ps(i))
    column = column_inputs( &
      t=inputs%t(:, i), q=inputs%q(:, i), qc=inputs%qc(:, i), qi=inputs%qi(:, i), &
      u=inputs%u(:, i), v=inputs%v(:, i), p_mid=inputs%p_mid(:, i), &
      dp=p_int(2:) - p_int(:levels%n_level), p_int=p_int, ozone=inputs%ozone(:, i), &
      ch4=inputs%ch4(:, i), n2o=inputs%n2o(:, i), ps=inputs%ps(i), solin=inputs%solin(i), &
      coszrs=inputs%coszrs(i), aldif=inputs%aldif(i), aldir=inputs%aldir(i), &
      asdif=inputs%asdif(i), asdir=inputs%asdir(i), lwup=inputs%lwup(i), &
      lhflx=inputs%lhflx(i), shflx=inputs%shflx(i), taux=inputs%taux(i), tauy=inputs%tauy(i))
  end function column_of

  !> Puts what was made of a column into the i-th of a table.
  pure subroutine put_column(made, i, outputs)
    type(column_outputs), intent(in) :: made
    integer, intent(in) :: i
    type(output_columns), intent(inout) :: outputs

    outputs%dtdt(:, i) = made%dtdt
    outputs%dqdt(:, i) = made%dqdt
    outputs%dqcdt(:, i) = made%dqcdt
    outputs%dqidt(:, i) = made%dqidt
    outputs%dudt(:, i) = made%dudt
    outputs%dvdt(:, i) = made%dvdt
    outputs%netsw(i) = made%netsw
    outputs%flwds(i) = made%flwds
    outputs%precsc(i) = made%precsc
    outputs%precc(i) = made%precc
    outputs%sols(i) = made%sols
    outputs%soll(i) = made%soll
    outputs%solsd(i) = made%solsd
    outputs%solld(i) = made%solld
  end subroutine put_column

  !> Keeps water positive, and adds what the host itself does, for the i-th column of this rank.
  subroutine finish_column(self, levels, sea_surface_temperature, dt, i)
    class(column_worker), intent(inout) :: self
    type(hybrid_levels), intent(in) :: levels
    real(r8), intent(in) :: sea_surface_temperature, dt
    integer, intent(in) :: i
    real(r8) :: p_int(levels%n_level + 1), dp(levels%n_level)

    associate (given => self%inputs, made => self%applied, added => self%added)
      p_int = interface_pressure(levels, given%ps(i))
      dp = p_int(2:) - p_int(:levels%n_level)
      added%limiter_water(i) = 0.0_r8
      added%limited_cells(i) = 0.0_r8
      associate (water => added%limiter_water(i), cells => added%limited_cells(i))
        call limit_water(dp / gravity, given%q(:, i), dt, made%dqdt(:, i), water, cells)
        call limit_water(dp / gravity, given%qc(:, i), dt, made%dqcdt(:, i), water, cells)
        call limit_water(dp / gravity, given%qi(:, i), dt, made%dqidt(:, i), water, cells)
      end associate
      call surface_and_boundary_layer( &
        given%t(:, i) + dt * made%dtdt(:, i), given%q(:, i) + dt * made%dqdt(:, i), &
        given%u(:, i) + dt * made%dudt(:, i), given%v(:, i) + dt * made%dvdt(:, i), &
        given%p_mid(:, i), p_int, dp, sea_surface_temperature, dt, &
        added%added_t(:, i), added%added_q(:, i), added%added_u(:, i), added%added_v(:, i), &
        added%lhflx(i), added%shflx(i), added%taux(i), added%tauy(i))
    end associate
  end subroutine finish_column

  !> Raises tendencies of a species of water that would take more of it than there is; counts cells
  !! and the water so made. The reference physics and a package with the positivity constraint leave
  !! nothing to do, but for blends of tendencies of both.
  pure subroutine limit_water(mass, water, dt, tendency, added, cells)
    real(r8), intent(in) :: mass(:)                  !! [level], kg/m2
    real(r8), intent(in) :: water(:)                 !! [level], kg/kg
    real(r8), intent(in) :: dt                       !! [s]
    real(r8), intent(inout) :: tendency(:)           !! As water, per second
    real(r8), intent(inout) :: added                 !! [kg/m2]
    real(r8), intent(inout) :: cells
    real(r8) :: rest
    integer :: k

    do k = 1, size(mass)
      rest = water(k) + dt * tendency(k)
      if (rest >= -round_off * water(k)) cycle
      added = added - rest * mass(k)
      cells = cells + 1.0_r8
      tendency(k) = -water(k) / dt
    end do
  end subroutine limit_water

end module aqua_column_step
