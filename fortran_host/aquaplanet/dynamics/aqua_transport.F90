!> Transport of vapour, cloud liquid and cloud ice: conservative, positive and without new extrema
!! along each direction.
!!
!! Sweeps along longitude and latitude move air and tracers through the faces of cells, which are
!! bounded by the sines of latitude -1 + the sum of the Gaussian weights; layers drift with the air
!! and are mapped back to the hybrid levels at the end (Lin 2004, Mon. Wea. Rev. 132, 2293). Air
!! mass is carried along (Easter 1993, Mon. Wea. Rev. 121, 297), so a constant stays a constant. The
!! sweeps of levels, then the mapping of columns, are shared out over the ranks.
module aqua_transport
  use aqua_constants, only: earth_radius, pi, r8
  use aqua_grid, only: gaussian_grid
  use aqua_levels, only: hybrid_levels, interface_pressure
  use aqua_pressure_fixer, only: pressure_fixer
  use aqua_remap, only: advance_line, n_tracer
  use host_parallel, only: agree, complete_shares, share_of
  implicit none (type, external)
  private

  public :: tracer_transport

  type :: tracer_transport
    type(gaussian_grid) :: grid
    type(hybrid_levels) :: levels
    type(pressure_fixer) :: fixer
    real(r8), allocatable :: fixed_dp(:)         !! Thickness of layers: fixed_dp + sigma_dp * ps
                                                 !! [level], Pa
    real(r8), allocatable :: sigma_dp(:)
    real(r8), allocatable :: cell_area(:)        !! Per a^2 [column]
    real(r8), allocatable :: east_factor(:)      !! Air through the eastern face per wind, thickness
                                                 !! and time [column], 1/m
    real(r8), allocatable :: north_factor(:)     !! The same for the northern face; 0 at the pole
  contains
    procedure :: initialize, advect
    procedure, private :: mass_fluxes, sweep_levels, sweep_level, restore_levels
  end type tracer_transport

contains

  subroutine initialize(self, grid, levels)
    class(tracer_transport), intent(inout) :: self
    type(gaussian_grid), intent(in) :: grid
    type(hybrid_levels), intent(in) :: levels
    real(r8) :: edge, width
    integer :: j, first, last

    self%grid = grid
    self%levels = levels
    call self%fixer%initialize(grid)
    associate (n => levels%n_level)
      self%fixed_dp = interface_pressure(levels, 0.0_r8)
      self%fixed_dp = self%fixed_dp(2:n + 1) - self%fixed_dp(:n)
      self%sigma_dp = levels%hybi(2:n + 1) - levels%hybi(:n)
    end associate
    allocate (self%cell_area(grid%n_column), self%east_factor(grid%n_column), &
              self%north_factor(grid%n_column), source=0.0_r8)
    width = 2.0_r8 * pi / real(grid%n_lon, r8)
    edge = -1.0_r8
    do j = 1, grid%n_lat
      first = (j - 1) * grid%n_lon + 1
      last = j * grid%n_lon
      edge = edge + grid%weight(j)
      self%cell_area(first:last) = grid%weight(j) * width
      self%east_factor(first:last) = grid%weight(j) / cos(grid%latitude(j)) / earth_radius
      if (j < grid%n_lat) self%north_factor(first:last) = sqrt(1.0_r8 - edge**2) &
        * width / earth_radius
    end do
  end subroutine initialize

  !> Moves tracers with the mean of the winds at the start and the end of a step; afterwards they
  !! belong to the air mass of ps_end. Sweeps begin with longitude in even steps and with latitude
  !! in odd ones. error is '' or says where air ran out, the same on all ranks. Collective.
  subroutine advect(self, u_start, v_start, ps_start, u_end, v_end, ps_end, dt, step_number, &
                    tracers, error)
    class(tracer_transport), intent(in) :: self
    !> [level, column], m/s
    real(r8), intent(in) :: u_start(:, :), v_start(:, :), u_end(:, :), v_end(:, :)
    real(r8), intent(in) :: ps_start(:), ps_end(:)                 !! [column], Pa
    real(r8), intent(in) :: dt                                     !! [s]
    integer, intent(in) :: step_number
    real(r8), intent(inout) :: tracers(:, :, :)                    !! [tracer, level, column], kg/kg
    character(len=:), allocatable, intent(out) :: error
    real(r8), dimension(self%grid%n_column, self%levels%n_level) :: mass, east, north
    real(r8) :: on_levels(n_tracer, self%grid%n_column, self%levels%n_level)
    integer :: first, count

    associate (n_column => self%grid%n_column, n_level => self%levels%n_level)
      call self%mass_fluxes(transpose(0.5_r8 * (u_start + u_end)), &
                            transpose(0.5_r8 * (v_start + v_end)), ps_start, ps_end, dt, mass, &
                            east, north)
      call self%sweep_levels(modulo(step_number, 2) == 0, east, north, mass, tracers, on_levels, &
                             error)
      call agree(error)
      if (len(error) > 0) return
      call complete_shares(n_column, n_level, mass)
      call complete_shares(n_tracer * n_column, n_level, on_levels)
      call share_of(n_column, first, count)
      call self%restore_levels(first, first + count - 1, ps_end, mass, on_levels, tracers)
      call complete_shares(n_tracer * n_level, n_column, tracers)
    end associate
  end subroutine advect

  !> Air in the cells and the air that crosses their faces in a step, per a^2 g. The columns' sums
  !! of what crosses are completed by the fixer, spread over levels like hybi, so that they change
  !! the surface pressure from ps_start to ps_end.
  subroutine mass_fluxes(self, u, v, ps_start, ps_end, dt, mass, east, north)
    class(tracer_transport), intent(in) :: self
    real(r8), intent(in) :: u(:, :), v(:, :)         !! [column, level]
    real(r8), intent(in) :: ps_start(:), ps_end(:), dt
    real(r8), intent(out) :: mass(:, :)              !! [column, level]
    real(r8), intent(out) :: east(:, :)              !! [column, level], through the eastern face
    real(r8), intent(out) :: north(:, :)             !! [column, level], through the northern face
    real(r8), dimension(self%grid%n_column) :: source, extra_east, extra_north, ps_east, ps_north
    real(r8) :: ps(self%grid%n_column)
    integer :: eastern(self%grid%n_column), northern(self%grid%n_column)
    integer :: i, k, n_lon, n

    n_lon = self%grid%n_lon
    n = self%grid%n_column
    eastern = [(i + merge(1 - n_lon, 1, modulo(i, n_lon) == 0), i = 1, n)]
    ! at the pole, where nothing crosses, any column will do
    northern = [(min(i + n_lon, n), i = 1, n)]
    ps = 0.5_r8 * (ps_start + ps_end)
    ps_east = 0.5_r8 * (ps + ps(eastern))
    ps_north = 0.5_r8 * (ps + ps(northern))
    source = -(ps_end - ps_start) * self%cell_area
    do k = 1, self%levels%n_level
      associate (fixed => self%fixed_dp(k), sigma => self%sigma_dp(k))
        mass(:, k) = (fixed + sigma * ps_start) * self%cell_area
        east(:, k) = 0.5_r8 * (u(:, k) + u(eastern, k)) * (fixed + sigma * ps_east) * dt &
          * self%east_factor
        north(:, k) = 0.5_r8 * (v(:, k) + v(northern, k)) * (fixed + sigma * ps_north) * dt &
          * self%north_factor
      end associate
      call subtract_divergence(n_lon, self%grid%n_lat, east(:, k), north(:, k), source)
    end do
    call self%fixer%solve(source, extra_east, extra_north)
    do k = 1, self%levels%n_level
      east(:, k) = east(:, k) + self%sigma_dp(k) * extra_east
      north(:, k) = north(:, k) + self%sigma_dp(k) * extra_north
    end do
  end subroutine mass_fluxes

  !> Takes the air that leaves every cell of a level from the source.
  pure subroutine subtract_divergence(n_lon, n_lat, east, north, source)
    integer, intent(in) :: n_lon, n_lat
    real(r8), intent(in) :: east(n_lon, n_lat), north(n_lon, n_lat)
    real(r8), intent(inout) :: source(n_lon, n_lat)
    integer :: j

    do j = 1, n_lat
      source(1, j) = source(1, j) - (east(1, j) - east(n_lon, j) + north(1, j))
      source(2:, j) = source(2:, j) - (east(2:, j) - east(:n_lon - 1, j) + north(2:, j))
      if (j > 1) source(:, j) = source(:, j) + north(:, j - 1)
    end do
  end subroutine subtract_divergence

  !> The sweeps of this rank's share of levels: mass and on_levels are good there.
  subroutine sweep_levels(self, longitude_first, east, north, mass, tracers, on_levels, error)
    class(tracer_transport), intent(in) :: self
    logical, intent(in) :: longitude_first
    real(r8), intent(in) :: east(:, :), north(:, :)      !! [column, level]
    real(r8), intent(inout) :: mass(:, :)                !! [column, level]
    real(r8), intent(in) :: tracers(:, :, :)             !! [tracer, level, column]
    real(r8), intent(inout) :: on_levels(:, :, :)        !! [tracer, column, level]
    character(len=:), allocatable, intent(out) :: error
    character(len=120) :: text
    integer :: k, first, count
    logical :: failed

    error = ''
    call share_of(self%levels%n_level, first, count)
    do k = first, first + count - 1
      on_levels(:, :, k) = tracers(:, k, :)
      call self%sweep_level(longitude_first, east(:, k), north(:, k), mass(:, k), &
                            on_levels(:, :, k), failed)
      if (failed) then
        write (text, '(a,i0,a)') 'transport: a cell of level ', k, &
          ' loses all of its air in one step: the wind is too strong'
        error = trim(text)
        return
      end if
    end do
  end subroutine sweep_levels

  !> Both sweeps of one level.
  pure subroutine sweep_level(self, longitude_first, east, north, mass, q, failed)
    class(tracer_transport), intent(in) :: self
    logical, intent(in) :: longitude_first
    real(r8), intent(in) :: east(:), north(:)        !! [column]
    real(r8), intent(inout) :: mass(:)               !! [column]
    real(r8), intent(inout) :: q(:, :)               !! [tracer, column]
    logical, intent(out) :: failed
    real(r8) :: line_mass(self%grid%n_lat), line(n_tracer, self%grid%n_lat)
    integer :: sweep, i, j, n_lon, first, last
    logical :: one

    n_lon = self%grid%n_lon
    failed = .false.
    do sweep = 1, 2
      if (longitude_first .eqv. sweep == 1) then
        do j = 1, self%grid%n_lat
          first = (j - 1) * n_lon + 1
          last = j * n_lon
          call advance_line(n_lon, .true., east(first:last), mass(first:last), q(:, first:last), &
                            one)
          failed = failed .or. one
        end do
      else
        do i = 1, n_lon
          line_mass = mass(i::n_lon)
          line = q(:, i::n_lon)
          call advance_line(self%grid%n_lat, .false., north(i::n_lon), line_mass, line, one)
          mass(i::n_lon) = line_mass
          q(:, i::n_lon) = line
          failed = failed .or. one
        end do
      end if
    end do
  end subroutine sweep_level

  !> Maps the drifted layers of columns first to last back to the hybrid levels.
  pure subroutine restore_levels(self, first, last, ps, mass, on_levels, tracers)
    class(tracer_transport), intent(in) :: self
    integer, intent(in) :: first, last
    real(r8), intent(in) :: ps(:)                        !! [column]
    real(r8), intent(in) :: mass(:, :)                   !! [column, level]
    real(r8), intent(in) :: on_levels(:, :, :)           !! [tracer, column, level]
    real(r8), intent(inout) :: tracers(:, :, :)          !! [tracer, level, column]
    real(r8), dimension(self%levels%n_level) :: drifted, crossing
    real(r8) :: excess
    integer :: column, k, n
    logical :: failed

    n = self%levels%n_level
    do column = first, last
      drifted = mass(column, :)
      excess = 0.0_r8
      do k = 1, n
        excess = excess + drifted(k) - (self%fixed_dp(k) + self%sigma_dp(k) * ps(column)) &
          * self%cell_area(column)
        crossing(k) = excess
      end do
      crossing(n) = 0.0_r8
      tracers(:, :, column) = on_levels(:, column, :)
      call advance_line(n, .false., crossing, drifted, tracers(:, :, column), failed)
    end do
  end subroutine restore_levels

end module aqua_transport
