!> Transport of vapour, cloud liquid and cloud ice: conservative, positive and without new extrema along each direction.
!!
!! Sweeps along longitude and latitude move air and tracers through the faces of cells, which are bounded by the sines of latitude
!! -1 + the sum of the Gaussian weights; layers drift with the air and are mapped back to the hybrid levels at the end (Lin 2004,
!! Mon. Wea. Rev. 132, 2293). Air mass is carried along (Easter 1993, Mon. Wea. Rev. 121, 297), so a constant stays a constant.
module aqua_transport
  use aqua_constants, only: earth_radius, pi, r8
  use aqua_grid, only: gaussian_grid
  use aqua_levels, only: hybrid_levels, interface_pressure
  use aqua_pressure_fixer, only: pressure_fixer
  use aqua_remap, only: advance_line
  implicit none (type, external)
  private

  public :: tracer_transport

  type :: tracer_transport
    type(gaussian_grid) :: grid
    type(hybrid_levels) :: levels
    type(pressure_fixer) :: fixer
    real(r8), allocatable :: face_length(:)      !! [0..n_lat], cosine of the latitude of faces between latitudes; 0 at the poles
  contains
    procedure :: initialize
    procedure :: advect
    procedure, private :: mass_fluxes
    procedure, private :: sweep_level
    procedure, private :: restore_levels
  end type tracer_transport

contains

  subroutine initialize(self, grid, levels)
    class(tracer_transport), intent(inout) :: self
    type(gaussian_grid), intent(in) :: grid
    type(hybrid_levels), intent(in) :: levels
    real(r8) :: edge
    integer :: j

    self%grid = grid
    self%levels = levels
    call self%fixer%initialize(grid)
    allocate (self%face_length(0:grid%n_lat), source=0.0_r8)
    edge = -1.0_r8
    do j = 1, grid%n_lat - 1
      edge = edge + grid%weight(j)
      self%face_length(j) = sqrt(1.0_r8 - edge**2)
    end do
  end subroutine initialize

  !> Moves tracers with the mean of the winds at the start and the end of a step; afterwards they belong to the air mass of ps_end.
  !! Sweeps begin with longitude in even steps and with latitude in odd ones. error is '' or says where air ran out.
  subroutine advect(self, u_start, v_start, ps_start, u_end, v_end, ps_end, dt, step_number, tracers, error)
    class(tracer_transport), intent(in) :: self
    real(r8), intent(in) :: u_start(:, :), v_start(:, :), u_end(:, :), v_end(:, :)     !! [level, column], m/s
    real(r8), intent(in) :: ps_start(:), ps_end(:)                                     !! [column], Pa
    real(r8), intent(in) :: dt                                                         !! [s]
    integer, intent(in) :: step_number
    real(r8), intent(inout) :: tracers(:, :, :)                                        !! [tracer, level, column], kg/kg
    character(len=:), allocatable, intent(out) :: error
    real(r8), dimension(self%grid%n_column, self%levels%n_level) :: mass, east
    real(r8), dimension(self%grid%n_lon, 0:self%grid%n_lat, self%levels%n_level) :: north
    character(len=80) :: text
    integer :: k
    logical :: failed

    call self%mass_fluxes(0.5_r8 * (u_start + u_end), 0.5_r8 * (v_start + v_end), ps_start, ps_end, dt, mass, east, north)
    error = ''
    do k = 1, self%levels%n_level
      call self%sweep_level(modulo(step_number, 2) == 0, east(:, k), north(:, :, k), mass(:, k), tracers(:, k, :), failed)
      if (failed) then
        write (text, '(a,i0,a)') 'transport: a cell of level ', k, ' loses all of its air in one step: the wind is too strong'
        error = trim(text)
        return
      end if
    end do
    call self%restore_levels(ps_end, mass, tracers)
  end subroutine advect

  !> Air in the cells and the air that crosses their faces in a step, per a^2 g. The columns' sums of what crosses are completed by
  !! the fixer, spread over levels like hybi, so that they change the surface pressure from ps_start to ps_end.
  subroutine mass_fluxes(self, u, v, ps_start, ps_end, dt, mass, east, north)
    class(tracer_transport), intent(in) :: self
    real(r8), intent(in) :: u(:, :), v(:, :), ps_start(:), ps_end(:), dt
    real(r8), intent(out) :: mass(:, :)              !! [column, level]
    real(r8), intent(out) :: east(:, :)              !! [column, level], through the eastern face
    real(r8), intent(out) :: north(:, 0:, :)         !! [longitude, face, level], through the northern face
    real(r8), dimension(self%grid%n_lon, self%grid%n_lat) :: source, extra_east
    real(r8) :: extra_north(self%grid%n_lon, 0:self%grid%n_lat), dp(self%levels%n_level), ps, width
    integer :: i, j, k, column, neighbour, n_lon, l

    n_lon = self%grid%n_lon
    l = self%levels%n_level
    width = 2.0_r8 * pi / real(n_lon, r8)
    north(:, 0, :) = 0.0_r8
    north(:, self%grid%n_lat, :) = 0.0_r8
    do j = 1, self%grid%n_lat
      do i = 1, n_lon
        column = i + (j - 1) * n_lon
        mass(column, :) = thickness(self%levels, ps_start(column)) * self%grid%weight(j) * width
        source(i, j) = -(ps_end(column) - ps_start(column)) * self%grid%weight(j) * width
        neighbour = merge(1, i + 1, i == n_lon) + (j - 1) * n_lon
        ps = 0.25_r8 * (ps_start(column) + ps_end(column) + ps_start(neighbour) + ps_end(neighbour))
        dp = thickness(self%levels, ps)
        east(column, :) = 0.5_r8 * (u(:, column) + u(:, neighbour)) * dp * dt / earth_radius &
                          * self%grid%weight(j) / cos(self%grid%latitude(j))
        if (j == self%grid%n_lat) cycle
        neighbour = column + n_lon
        ps = 0.25_r8 * (ps_start(column) + ps_end(column) + ps_start(neighbour) + ps_end(neighbour))
        dp = thickness(self%levels, ps)
        north(i, j, :) = 0.5_r8 * (v(:, column) + v(:, neighbour)) * dp * dt / earth_radius * self%face_length(j) * width
      end do
    end do
    call subtract_divergence(n_lon, self%grid%n_lat, l, east, north, source)
    call self%fixer%solve(source, extra_east, extra_north)
    do k = 1, l
      associate (share => self%levels%hybi(k + 1) - self%levels%hybi(k))
        east(:, k) = east(:, k) + share * reshape(extra_east, [self%grid%n_column])
        north(:, :, k) = north(:, :, k) + share * extra_north
      end associate
    end do
  end subroutine mass_fluxes

  pure function thickness(levels, ps) result(dp)
    type(hybrid_levels), intent(in) :: levels
    real(r8), intent(in) :: ps
    real(r8) :: dp(levels%n_level)
    real(r8) :: p(levels%n_level + 1)

    p = interface_pressure(levels, ps)
    dp = p(2:) - p(:levels%n_level)
  end function thickness

  !> Takes the air that leaves every column through all levels from the source [longitude, latitude].
  pure subroutine subtract_divergence(n_lon, n_lat, n_level, east, north, source)
    integer, intent(in) :: n_lon, n_lat, n_level
    real(r8), intent(in) :: east(n_lon, n_lat, n_level), north(n_lon, 0:n_lat, n_level)
    real(r8), intent(inout) :: source(n_lon, n_lat)
    integer :: j, k

    do k = 1, n_level
      do j = 1, n_lat
        source(:, j) = source(:, j) - (east(:, j, k) - cshift(east(:, j, k), -1) + north(:, j, k) - north(:, j - 1, k))
      end do
    end do
  end subroutine subtract_divergence

  !> Both sweeps of one level.
  pure subroutine sweep_level(self, longitude_first, east, north, mass, q, failed)
    class(tracer_transport), intent(in) :: self
    logical, intent(in) :: longitude_first
    real(r8), intent(in) :: east(:)                  !! [column]
    real(r8), intent(in) :: north(:, 0:)             !! [longitude, face]
    real(r8), intent(inout) :: mass(:)               !! [column]
    real(r8), intent(inout) :: q(:, :)               !! [tracer, column]
    logical, intent(out) :: failed
    integer :: sweep, i, j, n_lon, first, last
    logical :: one

    n_lon = self%grid%n_lon
    failed = .false.
    do sweep = 1, 2
      if (longitude_first .eqv. sweep == 1) then
        do j = 1, self%grid%n_lat
          first = (j - 1) * n_lon + 1
          last = j * n_lon
          call advance_line(.true., east(first:last), mass(first:last), q(:, first:last), one)
          failed = failed .or. one
        end do
      else
        do i = 1, n_lon
          call advance_line(.false., north(i, 1:), mass(i::n_lon), q(:, i::n_lon), one)
          failed = failed .or. one
        end do
      end if
    end do
  end subroutine sweep_level

  !> Maps the drifted layers of every column back to the hybrid levels.
  pure subroutine restore_levels(self, ps, mass, tracers)
    class(tracer_transport), intent(in) :: self
    real(r8), intent(in) :: ps(:)
    real(r8), intent(in) :: mass(:, :)               !! [column, level]
    real(r8), intent(inout) :: tracers(:, :, :)
    real(r8), dimension(self%levels%n_level) :: drifted, dp, crossing
    real(r8) :: excess
    integer :: column, k
    logical :: failed

    do column = 1, self%grid%n_column
      dp = thickness(self%levels, ps(column)) * self%grid%area(column)
      drifted = mass(column, :)
      excess = 0.0_r8
      do k = 1, self%levels%n_level
        excess = excess + drifted(k) - dp(k)
        crossing(k) = excess
      end do
      crossing(self%levels%n_level) = 0.0_r8
      call advance_line(.false., crossing, drifted, tracers(:, :, column), failed)
    end do
  end subroutine restore_levels

end module aqua_transport
