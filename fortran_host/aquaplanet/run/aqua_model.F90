!> The state of the embedded model and its step: dynamics, transport, columns, increments.
!! Replicated on every rank but for the columns, which are shared out; so the results do not depend
!! on the number of ranks.
module aqua_model
  use aqua_budgets, only: angular_momentum, budget_row, column_energy, column_water, global_mean
  use host_calendar, only: calendar_day, model_time, parse_stamp, time_after
  use aqua_checks, only: state_error
  use aqua_column_step, only: column_worker
  use aqua_column_table, only: input_columns
  use aqua_constants, only: gravity, heat_capacity, i_ice, i_liquid, i_vapor, n_tracer, r8, &
                            seconds_per_day, stefan_boltzmann
  use aqua_dynamics, only: dynamical_core
  use aqua_gases, only: gas_profiles
  use aqua_grid, only: gaussian_grid, make_grid
  use aqua_held_suarez, only: held_suarez_tendencies
  use aqua_hybrid, only: hybrid_physics
  use aqua_initial, only: initial_state, initial_vapor, perturb
  use aqua_levels, only: hybrid_levels, midpoint_pressure
  use aqua_saturation, only: saturation_specific_humidity
  use aqua_settings, only: aquaplanet_settings
  use aqua_summary, only: mm_per_day, summarize_columns
  use aqua_sun, only: solar_geometry
  use aqua_surface, only: ocean_albedo, sea_surface_temperature
  use aqua_transport, only: tracer_transport
  use host_parallel, only: agree
  implicit none (type, external)
  private

  public :: aquaplanet_model

  type :: aquaplanet_model
    type(aquaplanet_settings) :: settings
    type(gaussian_grid) :: grid
    type(hybrid_levels) :: levels
    type(dynamical_core) :: core
    type(tracer_transport) :: transport
    type(column_worker) :: worker
    type(hybrid_physics) :: hybrid
    type(model_time) :: start
    integer :: step_number = 0
    real(r8), allocatable :: tracers(:, :, :)  !! [vapour liquid ice, level, column], kg/kg
    real(r8), allocatable :: sst(:)    !! [column], K
    type(input_columns) :: before      !! What the emulated part of the last step was given.
    logical :: has_gases = .false.     !! before has gases on all levels.
    real(r8) :: water = 0.0_r8         !! Global mean after the last step [kg/m2], if has_water
    logical :: has_water = .false.
    real(r8) :: energy = 0.0_r8        !! Global mean after the last step, before truncation [J/m2].
    type(budget_row) :: budget         !! Of the last step.
  contains
    procedure :: initialize, set_initial, perturb_state, advance, time
    procedure, private :: open_emulator, global_energy, advance_moist, advance_dry, fix_energy
    procedure, private :: fill_inputs, apply_columns, set_moist_tracers, complete_budget
  end type aquaplanet_model

contains

  !> Builds grid, levels, dynamics, transport and columns; the state is then set by set_initial or
  !! from a restart.
  subroutine initialize(self, settings, error)
    class(aquaplanet_model), intent(inout) :: self
    type(aquaplanet_settings), intent(in) :: settings
    character(len=:), allocatable, intent(out) :: error

    self%settings = settings
    call settings%levels%make(self%levels, error)
    if (len(error) == 0) call parse_stamp(trim(settings%run%start), self%start, error)
    if (len(error) == 0) call make_grid(settings%run%truncation, self%grid, error)
    if (len(error) == 0) call self%core%initialize(self%grid, self%levels, settings%dynamics, error)
    if (len(error) > 0) return
    call self%transport%initialize(self%grid, self%levels)
    call self%before%make(self%levels%n_level, self%grid%n_column)
    self%before%ocnfrac = 1.0_r8                       ! all is sea, without snow
    call self%worker%initialize(self%before)
    allocate (self%tracers(n_tracer, self%levels%n_level, self%grid%n_column), source=0.0_r8)
    self%sst = sea_surface_temperature(self%grid%column_latitude) + settings%physics%sst_warming_k
    if (len_trim(settings%emulator%entries%package) > 0) call self%open_emulator(error)
  end subroutine initialize

  !> Opens the package of a hybrid run. Collective.
  subroutine open_emulator(self, error)
    class(aquaplanet_model), intent(inout) :: self
    character(len=:), allocatable, intent(out) :: error

    associate (wanted => self%settings%emulator%entries, mine => self%worker, &
               latitude => self%grid%column_latitude)
      call self%hybrid%open(wanted, self%levels, mine%inputs, &
                            latitude(mine%first:mine%first + mine%count - 1), &
                            self%settings%run%time_step_s, error)
    end associate
  end subroutine open_emulator

  !> Model time after a step counted from the start of the case.
  function time(self, step) result(now)
    class(aquaplanet_model), intent(in) :: self
    integer, intent(in) :: step
    type(model_time) :: now

    now = time_after(self%start, step, self%settings%run%time_step_s)
  end function time

  !> The state that a case without restart begins with.
  subroutine set_initial(self, error)
    class(aquaplanet_model), intent(inout) :: self
    character(len=:), allocatable, intent(out) :: error
    real(r8), dimension(self%levels%n_level, self%grid%n_column) :: u, v, t
    real(r8) :: ps(self%grid%n_column), geopotential(self%grid%n_column)

    associate (run => self%settings%run)
      call initial_state(trim(run%initial), self%grid, self%levels, run%seed, run%perturbation_k, &
                         u, v, t, ps, geopotential, error)
    end associate
    if (len(error) > 0) return
    call self%core%set_state(u, v, t, ps, geopotential)
    if (self%settings%run%physics == 'moist') call self%set_moist_tracers()
    self%energy = self%global_energy(self%core%t, self%core%u, self%core%v)
  end subroutine set_initial

  !> Adds the random perturbation of a twin to a state that was read. Its energy is then what the
  !! budgets begin with.
  subroutine perturb_state(self)
    class(aquaplanet_model), intent(inout) :: self
    real(r8), dimension(self%levels%n_level, self%grid%n_column) :: noise, none
    integer :: column

    noise = 0.0_r8
    none = 0.0_r8
    do column = 1, self%grid%n_column
      call perturb(self%settings%run%seed, column, self%settings%run%restart_perturbation_k, &
                   noise(:, column))
    end do
    self%energy = self%global_energy(self%core%t + noise, self%core%u, self%core%v)
    call self%core%add_increments(none, none, noise)
  end subroutine perturb_state

  !> Vapour of the moist start, without cloud.
  subroutine set_moist_tracers(self)
    class(aquaplanet_model), intent(inout) :: self
    integer :: column

    do column = 1, self%grid%n_column
      self%tracers(i_vapor, :, column) = initial_vapor(self%core%t(:, column), &
        midpoint_pressure(self%levels, self%core%ps(column)))
    end do
  end subroutine set_moist_tracers

  !> Global mean energy in J/m2 of temperatures and winds [level, column] with the model's water and
  !! surface pressure.
  function global_energy(self, t, u, v) result(energy)
    class(aquaplanet_model), intent(in) :: self
    real(r8), intent(in) :: t(:, :), u(:, :), v(:, :)
    real(r8) :: energy

    energy = global_mean(self%grid, column_energy(self%levels, self%core%ps, &
      self%core%surface_geopotential, t, u, v, self%tracers))
  end function global_energy

  !> One time step. error is the same on all ranks: '' or what went wrong, with rank, column and
  !! variable.
  subroutine advance(self, error)
    class(aquaplanet_model), intent(inout) :: self
    character(len=:), allocatable, intent(out) :: error

    self%step_number = self%step_number + 1
    self%budget = budget_row(step=self%step_number)
    self%budget%day = real(self%step_number, r8) * self%settings%run%time_step_s / seconds_per_day
    if (self%settings%run%physics == 'moist') then
      call self%advance_moist(error)
    else
      call self%advance_dry(error)
    end if
    if (len(error) == 0) call self%complete_budget()
    call agree(error)
  end subroutine advance

  subroutine advance_moist(self, error)
    class(aquaplanet_model), intent(inout) :: self
    character(len=:), allocatable, intent(out) :: error
    real(r8) :: dt, water

    dt = self%settings%run%time_step_s
    if (.not. self%has_water) self%water = global_mean(self%grid, &
      column_water(self%levels, self%core%ps, self%tracers))
    call self%core%step(self%tracers(i_vapor, :, :))
    error = state_error(self%grid, self%core%u, self%core%v, self%core%t, self%core%ps)
    if (len(error) > 0) return
    call self%transport%advect(self%core%u_start, self%core%v_start, self%core%ps_start, &
                               self%core%u, self%core%v, self%core%ps, dt, self%step_number, &
                               self%tracers, error)
    if (len(error) > 0) return
    water = global_mean(self%grid, column_water(self%levels, self%core%ps, self%tracers)) &
      - self%water
    self%budget%transport_water = mm_per_day(water, dt)
    call self%fix_energy(dt)
    call self%fill_inputs()
    call self%worker%step(self%step_number, self%levels, self%settings%physics, self%sst, dt, &
                          self%hybrid, error)
    if (len(error) == 0) call self%apply_columns(dt)
  end subroutine advance_moist

  !> Dynamics with Held and Suarez' forcing, or alone.
  subroutine advance_dry(self, error)
    class(aquaplanet_model), intent(inout) :: self
    character(len=:), allocatable, intent(out) :: error
    real(r8), dimension(self%levels%n_level, self%grid%n_column) :: du, dv, dtemperature
    integer :: column

    call self%core%step(self%tracers(i_vapor, :, :))
    error = state_error(self%grid, self%core%u, self%core%v, self%core%t, self%core%ps)
    if (len(error) > 0 .or. self%settings%run%physics == 'none') return
    do column = 1, self%grid%n_column
      call held_suarez_tendencies(self%levels, self%grid%column_latitude(column), &
                                  self%core%ps(column), &
                                  self%core%u(:, column), self%core%v(:, column), &
                                  self%core%t(:, column), du(:, column), dv(:, column), &
                                  dtemperature(:, column))
    end do
    associate (dt => self%settings%run%time_step_s)
      call self%core%add_increments(dt * du, dt * dv, dt * dtemperature)
    end associate
  end subroutine advance_dry

  !> Gives back as heat, the same everywhere, what diffusion, sponge, time filter, transport and the
  !! truncation of increments took from the energy (as CAM's global energy fixer: Williamson, Olson
  !! and Jablonowski 2009, Mon. Wea. Rev. 137, 1494).
  subroutine fix_energy(self, dt)
    class(aquaplanet_model), intent(inout) :: self
    real(r8), intent(in) :: dt
    real(r8) :: lost, mass

    lost = self%energy - self%global_energy(self%core%t, self%core%u, self%core%v)
    mass = (global_mean(self%grid, self%core%ps) * (1.0_r8 - self%levels%hybi(1)) &
            - self%levels%p0 * self%levels%hyai(1)) / gravity
    call self%core%add_uniform_temperature(lost / (heat_capacity * mass))
    self%budget%energy_fixer = lost / dt
  end subroutine fix_energy

  !> What the emulated part is given: the state, sun, gases and surface, and the surface fluxes of
  !! the step before.
  subroutine fill_inputs(self)
    class(aquaplanet_model), intent(inout) :: self
    integer :: column, k

    ! Gases follow pressure: where that does not change, they stay as the first step of the run has
    ! them.
    k = 1
    if (self%has_gases) k = findloc(self%levels%hybm > 0.0_r8, .true., dim=1)
    self%has_gases = .true.
    associate (to => self%before, core => self%core, host => self%worker%host, &
               latitude => self%grid%column_latitude, longitude => self%grid%column_longitude)
      to%t = core%t
      to%q = self%tracers(i_vapor, :, :)
      to%qc = self%tracers(i_liquid, :, :)
      to%qi = self%tracers(i_ice, :, :)
      to%u = core%u
      to%v = core%v
      to%ps = core%ps
      do column = 1, self%grid%n_column
        to%p_mid(:, column) = midpoint_pressure(self%levels, core%ps(column))
        call gas_profiles(to%p_mid(k:, column), latitude(column), to%ozone(k:, column), &
                          to%ch4(k:, column), to%n2o(k:, column))
      end do
      call solar_geometry(calendar_day(self%time(self%step_number)), latitude, longitude, &
                          to%coszrs, to%solin)
      call ocean_albedo(to%coszrs, direct=to%asdir, diffuse=to%asdif)
      to%aldir = to%asdir
      to%aldif = to%asdif
      to%lwup = stefan_boltzmann * self%sst**4
      to%lhflx = host%lhflx
      to%shflx = host%shflx
      to%taux = host%taux
      to%tauy = host%tauy
    end associate
  end subroutine fill_inputs

  !> Adds what the columns made to the model's state and completes the budgets.
  subroutine apply_columns(self, dt)
    class(aquaplanet_model), intent(inout) :: self
    real(r8), intent(in) :: dt
    real(r8), dimension(self%levels%n_level, self%grid%n_column) :: du, dv, dtemperature

    associate (made => self%worker%results, host => self%worker%host, q => self%tracers)
      dtemperature = dt * made%dtdt + host%added_t
      du = dt * made%dudt + host%added_u
      dv = dt * made%dvdt + host%added_v
      ! Tendencies take all of a species at most, up to rounding in dt * (-q / dt).
      q(i_vapor, :, :) = max(q(i_vapor, :, :) + dt * made%dqdt + host%added_q, 0.0_r8)
      q(i_liquid, :, :) = max(q(i_liquid, :, :) + dt * made%dqcdt, 0.0_r8)
      q(i_ice, :, :) = max(q(i_ice, :, :) + dt * made%dqidt, 0.0_r8)
    end associate
    self%energy = self%global_energy(self%core%t + dtemperature, self%core%u + du, self%core%v + dv)
    call self%core%add_increments(du, dv, dtemperature)
  end subroutine apply_columns

  !> What the state after the step adds to the budget.
  subroutine complete_budget(self)
    class(aquaplanet_model), intent(inout) :: self

    associate (row => self%budget, core => self%core)
      row%temperature_min = minval(core%t)
      row%temperature_max = maxval(core%t)
      row%wind_max = sqrt(maxval(core%u**2 + core%v**2))
      row%surface_pressure = global_mean(self%grid, core%ps)
      if (self%settings%run%physics /= 'moist') return
      row%energy = self%energy
      self%water = global_mean(self%grid, column_water(self%levels, core%ps, self%tracers))
      self%has_water = .true.
      row%water = self%water
      row%angular_momentum = angular_momentum(self%grid, self%levels, core%ps, core%u)
      call summarize_columns(self%grid, self%levels, self%before, self%worker%results, &
                             self%worker%host, self%settings%run%time_step_s, &
                             self%hybrid%reference_feeds_back(), row)
    end associate
  end subroutine complete_budget

end module aqua_model
