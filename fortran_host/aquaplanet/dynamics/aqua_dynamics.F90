!> Dry dynamics: the primitive equations for vorticity, divergence, temperature and ln ps by the
!! spectral transform method.
!!
!! Leapfrog with semi-implicit gravity waves; the filter of Williams (2009, Mon. Wea. Rev. 137,
!! 2538), implicit damping of what is too small (aqua_damping). Virtual temperature is formed on
!! the grid. Everything is replicated on all ranks and deterministic.
module aqua_dynamics
  use aqua_constants, only: pi, r8
  use aqua_damping, only: damping_rates
  use aqua_dynamics_settings, only: dynamics_settings
  use aqua_grid, only: gaussian_grid
  use aqua_grid_tendencies, only: grid_tendencies, grid_workspace
  use aqua_levels, only: hybrid_levels
  use aqua_semi_implicit, only: semi_implicit
  use aqua_transform, only: spectral_transform
  use aqua_vertical, only: linear_operators, make_linear
  use aqua_winds, only: curl_of, divergence_of, fill_synthesis
  implicit none (type, external)
  private

  public :: dynamical_core

  real(r8), parameter :: reference_pressure = 1.0e5_r8     !! Of the semi-implicit terms [Pa]

  type :: dynamical_core
    type(gaussian_grid) :: grid
    type(hybrid_levels) :: levels
    type(dynamics_settings) :: settings
    integer :: n_step = 0
    real(r8), allocatable :: u(:, :), v(:, :), t(:, :)              !! [level, column], newest
    real(r8), allocatable :: ps(:)                                  !! [column], Pa, newest
    real(r8), allocatable :: u_start(:, :), v_start(:, :)           !! At the start of the last step
    real(r8), allocatable :: ps_start(:)
    real(r8), allocatable :: omega(:, :)                            !! Of the last step [Pa/s]
    real(r8), allocatable :: surface_geopotential(:)                !! [column], m2/s2
    type(spectral_transform), private :: transform
    type(semi_implicit), private :: gravity_waves
    type(linear_operators), private :: linear
    type(grid_workspace), private :: work
    !> [row, 2, coefficient]: vorticity, divergence, T, ln ps
    real(r8), allocatable, private :: old(:, :, :), new(:, :, :)
    real(r8), allocatable, private :: next(:, :, :)                 !! In work
    !> States and increments, as in to_spectra
    real(r8), allocatable, private :: given(:, :), given_spectra(:, :, :)
    logical, private :: fields_are_current = .true.     !! The grid fields in work are those of new.
    type(damping_rates), private :: damping
    real(r8), private :: mean_pressure = 0.0_r8         !! Kept by every step [Pa]
  contains
    procedure :: initialize, set_state, step, add_increments, add_uniform_temperature, packed_state
    procedure :: unpack_state
    procedure, private :: leap, keep_mass, update_grid
  end type dynamical_core

contains

  subroutine initialize(self, grid, levels, settings, error)
    class(dynamical_core), intent(inout) :: self
    type(gaussian_grid), intent(in) :: grid
    type(hybrid_levels), intent(in) :: levels
    type(dynamics_settings), intent(in) :: settings
    character(len=:), allocatable, intent(out) :: error
    integer :: l, c

    error = settings%problem()
    if (len(error) > 0) return
    self%grid = grid
    self%levels = levels
    self%settings = settings
    l = levels%n_level
    c = grid%n_column
    call self%transform%initialize(grid)
    call make_linear(levels, settings%reference_temperature_k, reference_pressure, self%linear)
    call self%gravity_waves%initialize(self%linear, grid%truncation, settings%time_step_s, error)
    allocate (self%u(l, c), self%v(l, c), self%t(l, c), self%ps(c), self%u_start(l, c), &
              self%v_start(l, c), self%ps_start(c), self%omega(l, c), &
              self%surface_geopotential(c), source=0.0_r8)
    allocate (self%old(3 * l + 1, 2, self%transform%n_coefficient), source=0.0_r8)
    allocate (self%new, self%next, self%given_spectra, source=self%old)
    allocate (self%given(3 * l + 1, c), source=0.0_r8)
    call self%work%allocate_for(self%transform, levels)
    call self%damping%initialize(levels, settings, grid%truncation, reference_pressure)
  end subroutine initialize

  !> Starts from a state on the grid [level, column]; both time levels hold it, and the first step
  !! is a forward one.
  subroutine set_state(self, u, v, t, ps, surface_geopotential)
    class(dynamical_core), intent(inout) :: self
    real(r8), intent(in) :: u(:, :), v(:, :), t(:, :), ps(:), surface_geopotential(:)

    self%surface_geopotential = surface_geopotential
    call to_spectra(self, u, v, t, log(ps))
    self%new = self%next
    self%mean_pressure = sum(self%grid%area * ps) / (4.0_r8 * pi)
    self%n_step = 0
    call self%keep_mass()
    call self%update_grid()
    self%old = self%new
  end subroutine set_state

  !> Wind [m/s], temperature [K] and ln ps on the grid to next.
  subroutine to_spectra(self, u, v, t, ln_ps)
    type(dynamical_core), intent(inout) :: self
    real(r8), intent(in) :: u(:, :), v(:, :), t(:, :), ln_ps(:)
    real(r8) :: per_cosine
    integer :: column, l

    l = self%levels%n_level
    associate (fields => self%given, spectra => self%given_spectra)
      do column = 1, self%grid%n_column
        per_cosine = 1.0_r8 / cos(self%grid%column_latitude(column))
        fields(:l, column) = per_cosine * u(:, column)
        fields(l + 1:2 * l, column) = per_cosine * v(:, column)
        fields(2 * l + 1:3 * l, column) = t(:, column)
        fields(3 * l + 1, column) = ln_ps(column)
      end do
      call self%transform%analyze(fields, spectra)
      call curl_of(self%transform, spectra(:l, :, :), spectra(l + 1:2 * l, :, :), &
                   self%next(:l, :, :))
      call divergence_of(self%transform, spectra(:l, :, :), spectra(l + 1:2 * l, :, :), &
                         self%next(l + 1:2 * l, :, :))
      self%next(2 * l + 1:, :, :) = spectra(2 * l + 1:, :, :)
    end associate
    call truncate(self%transform, self%next)
  end subroutine to_spectra

  !> Winds carry one degree more than the truncation; the prognostic fields do not.
  pure subroutine truncate(transform, spectra)
    type(spectral_transform), intent(in) :: transform
    real(r8), intent(inout) :: spectra(:, :, :)
    integer :: c

    do c = 1, transform%n_coefficient
      if (transform%total(c) > transform%grid%truncation) spectra(:, :, c) = 0.0_r8
    end do
  end subroutine truncate

  !> One step of the dynamics. vapor is specific humidity [level, column] at the present time. The
  !! first step after set_state is forward: a leap of half the length from equal time levels.
  subroutine step(self, vapor)
    class(dynamical_core), intent(inout) :: self
    real(r8), intent(in) :: vapor(:, :)
    character(len=:), allocatable :: error
    real(r8) :: dt

    dt = self%settings%time_step_s
    if (self%n_step == 0) dt = 0.5_r8 * dt
    if (abs(self%gravity_waves%time_step - dt) > 0.0_r8) then
      call self%gravity_waves%initialize(self%linear, self%grid%truncation, dt, error)
    end if
    self%u_start = self%u
    self%v_start = self%v
    self%ps_start = self%ps
    if (.not. self%fields_are_current) call self%update_grid()
    call grid_tendencies(self%transform, self%levels, self%work, &
                         self%settings%reference_temperature_k, vapor, self%surface_geopotential, &
                         self%next, self%omega)
    call truncate(self%transform, self%next)
    call self%gravity_waves%subtract_linear(self%transform, self%new, self%next)
    self%next = self%old + dt * self%next
    call self%gravity_waves%solve(self%transform, self%next)
    call self%leap(2.0_r8 * dt)
    self%n_step = self%n_step + 1
    call self%keep_mass()
    call self%update_grid()
  end subroutine step

  !> From the mean of both ends of the leap in next to the new time levels: implicit damping of
  !! winds and temperature, then the time filter.
  subroutine leap(self, dt)
    class(dynamical_core), intent(inout) :: self
    real(r8), intent(in) :: dt                       !! Length of the leap [s]
    real(r8), dimension(size(self%new, 1)) :: damped, change
    real(r8) :: nu, alpha
    integer :: c, part, l, kind

    l = self%levels%n_level
    call self%damping%set_leap(dt)
    nu = 0.5_r8 * self%settings%filter_nu
    if (self%n_step == 0) nu = 0.0_r8
    alpha = self%settings%filter_alpha
    damped = 1.0_r8
    do c = 1, self%transform%n_coefficient
      kind = merge(1, 2, self%transform%zonal(c) == 0)
      associate (n => self%transform%total(c))
        damped(:l) = 1.0_r8 / (1.0_r8 + dt * self%damping%wind(:, n, kind))
        damped(l + 1:2 * l) = damped(:l)
        damped(2 * l + 1:3 * l) = 1.0_r8 / (1.0_r8 + dt * self%damping%temperature(:, n, kind))
      end associate
      do part = 1, 2
        associate (old => self%old(:, part, c), new => self%new(:, part, c), &
                   next => self%next(:, part, c))
          next = damped * (2.0_r8 * next - old)
          if (allocated(self%damping%filter)) then
            next(:l) = matmul(self%damping%filter, next(:l))
            next(l + 1:2 * l) = matmul(self%damping%filter, next(l + 1:2 * l))
          end if
          ! Williams (2009): the curvature in time is shared between the middle and the newest
          ! level.
          change = nu * (old - 2.0_r8 * new + next)
          old = new + alpha * change
          new = next + (alpha - 1.0_r8) * change
        end associate
      end do
    end do
  end subroutine leap

  !> Scales ps to its first global mean: ln ps as a prognostic variable does not conserve mass by
  !! itself.
  subroutine keep_mass(self)
    class(dynamical_core), intent(inout) :: self
    real(r8) :: ln_ps(1, self%grid%n_column), mean
    integer :: row

    row = 3 * self%levels%n_level + 1
    call self%transform%synthesize(self%new(row:row, :, :), ln_ps)
    mean = sum(self%grid%area * exp(ln_ps(1, :))) / (4.0_r8 * pi)
    self%new(row, 1, 1) = self%new(row, 1, 1) + log(self%mean_pressure / mean)
  end subroutine keep_mass

  !> Grid fields of the newest state.
  subroutine update_grid(self)
    class(dynamical_core), intent(inout) :: self

    call fill_synthesis(self%transform, self%new, self%work%spectra)
    call self%transform%synthesize(self%work%spectra, self%work%fields)
    call self%work%unpack(self%grid, self%u, self%v, self%t, self%ps)
    self%fields_are_current = .true.
  end subroutine update_grid

  !> Adds increments [level, column] of wind and temperature to both time levels: a physics step of
  !! full strength, since the leap from the old level would otherwise halve it.
  subroutine add_increments(self, du, dv, dt)
    class(dynamical_core), intent(inout) :: self
    real(r8), intent(in) :: du(:, :), dv(:, :), dt(:, :)
    real(r8) :: nothing(size(self%ps))
    integer :: c

    nothing = 0.0_r8
    call to_spectra(self, du, dv, dt, nothing)
    do c = 1, self%transform%n_coefficient
      self%old(:, :, c) = self%old(:, :, c) + self%next(:, :, c)
      self%new(:, :, c) = self%new(:, :, c) + self%next(:, :, c)
    end do
    call self%update_grid()
  end subroutine add_increments

  !> Adds the same temperature [K] everywhere, on both time levels.
  subroutine add_uniform_temperature(self, dt)
    class(dynamical_core), intent(inout) :: self
    real(r8), intent(in) :: dt
    integer :: l

    l = self%levels%n_level
    self%old(2 * l + 1:3 * l, 1, 1) = self%old(2 * l + 1:3 * l, 1, 1) + dt
    self%new(2 * l + 1:3 * l, 1, 1) = self%new(2 * l + 1:3 * l, 1, 1) + dt
    self%t = self%t + dt
    self%fields_are_current = .false.
  end subroutine add_uniform_temperature

  !> All that an exact restart needs, as one vector.
  pure function packed_state(self) result(state)
    class(dynamical_core), intent(in) :: self
    real(r8), allocatable :: state(:)

    state = [real(self%n_step, r8), self%mean_pressure, reshape(self%old, [size(self%old)]), &
             reshape(self%new, [size(self%new)]), self%surface_geopotential]
  end function packed_state

  subroutine unpack_state(self, buffer)
    class(dynamical_core), intent(inout) :: self
    real(r8), intent(in) :: buffer(:)
    integer :: n

    n = size(self%new)
    self%n_step = nint(buffer(1))
    self%mean_pressure = buffer(2)
    self%old = reshape(buffer(3:n + 2), shape(self%old))
    self%new = reshape(buffer(n + 3:2 * n + 2), shape(self%new))
    self%surface_geopotential = buffer(2 * n + 3:)
    call self%update_grid()
  end subroutine unpack_state

end module aqua_dynamics
