!> A package made on one vertical grid in a host on another: profiles go to the package's layers and
!! tendencies come back, conservatively in mass and without new extremes.
!!
!!     call remap%initialize(p0, hyai, hybi, status)              ! of the package, once
!!     call remap%to_package(p_interface, t, t_package, status)   ! means of the package's layers
!!     ...                                                        ! the emulator runs on them
!!     call remap%to_host(p_interface, dtdt_package, dtdt, status)
!!     call remap%keep_positive(p_interface, q, time_step, dqdt, moved, unfilled, status)
!!
!! Layers go top down; the lowest interface of both grids is the surface. Profiles are linear in
!! pressure within a layer and limited (climlink_layer_means); what a layer of the other grid gets
!! is their integral over what both share: equal layers keep their value to the last bit, and
!! constants stay constant.
!!
!! The sum of value * dp is kept, so mass of water for specific humidities and dry enthalpy for
!! temperatures; kinetic energy of winds is not. Work is proportional to the number of layers.
module climlink_vertical_remap
  use, intrinsic :: ieee_arithmetic, only: ieee_is_finite
  use, intrinsic :: iso_fortran_env, only: real64
  use climlink_emulators, only: climlink_emulator
  use climlink_errors, only: climlink_error_argument, climlink_error_host, &
                             climlink_error_nonfinite, climlink_error_shape, climlink_error_state, &
                             climlink_status, failure
  use climlink_humidity, only: pressure_at_midpoints
  use climlink_layer_means, only: average_shared, borrow, limited_rise
  use climlink_parallel, only: process_rank, settle
  use climlink_run_options, only: number_text
  implicit none (type, external)
  private

  public :: climlink_remap

  character(len=*), parameter :: remap_conservative = 'conservative'

  type :: climlink_remap
    private
    integer :: rank = 0                                   !! For messages.
    real(real64) :: p0 = 0.0_real64                       !! [Pa]
    real(real64), allocatable :: hyai(:), hybi(:)         !! [package level + 1]
    real(real64), allocatable :: hyam(:), hybm(:)         !! [package level]
  contains
    procedure :: initialize, initialize_from, is_active, package_levels, text, package_midpoints, &
                 to_package, to_host, keep_positive
    procedure, private :: check
  end type climlink_remap

contains

  !> Takes the package's grid, p = p0 * hyai + hybi * ps at interfaces, top down. Midpoints are the
  !! means of their interfaces unless their coefficients are given.
  subroutine initialize(self, p0, hyai, hybi, status, hyam, hybm)
    class(climlink_remap), intent(inout) :: self
    real(real64), intent(in) :: p0                              !! [Pa]
    real(real64), intent(in) :: hyai(:), hybi(:)                !! [package level + 1]
    type(climlink_status), intent(out), optional :: status
    real(real64), intent(in), optional :: hyam(:), hybm(:)      !! [package level]
    type(climlink_status) :: outcome
    character(len=:), allocatable :: problem
    integer :: n

    self%rank = process_rank()
    if (allocated(self%hyai)) deallocate (self%hyai, self%hybi, self%hyam, self%hybm)
    n = size(hyai) - 1
    problem = grid_problem(p0, hyai, hybi)
    if (len(problem) == 0 .and. (present(hyam) .neqv. present(hybm))) then
      problem = 'hyam and hybm are given together or not at all'
    else if (len(problem) == 0 .and. present(hyam)) then
      if (size(hyam) /= n .or. size(hybm) /= n) problem = 'hyam and hybm need one number per level'
    end if
    if (len(problem) > 0) then
      outcome = refusal(self, climlink_error_argument, 'initialize', &
                        'the grid of the package: ' // problem)
    else
      self%p0 = p0
      self%hyai = hyai
      self%hybi = hybi
      self%hyam = 0.5_real64 * (hyai(:n) + hyai(2:))
      self%hybm = 0.5_real64 * (hybi(:n) + hybi(2:))
      if (present(hyam)) self%hyam = hyam
      if (present(hybm)) self%hybm = hybm
    end if
    call settle(outcome, status)
  end subroutine initialize

  !> What is wrong with a grid, or nothing.
  pure function grid_problem(p0, hyai, hybi) result(problem)
    real(real64), intent(in) :: p0, hyai(:), hybi(:)
    character(len=:), allocatable :: problem
    integer :: n

    n = size(hyai) - 1
    problem = ''
    if (size(hyai) == 0 .and. size(hybi) == 0) then
      problem = 'the package states none'
    else if (size(hybi) /= n + 1 .or. n < 1) then
      problem = 'hyai and hybi need the same number of interfaces, two or more'
    else if (.not. (ieee_is_finite(p0) .and. all(ieee_is_finite([hyai, hybi])))) then
      problem = 'p0, hyai and hybi must be finite numbers'
    else if (p0 <= 0.0_real64 .or. hyai(1) < 0.0_real64 .or. hybi(1) < 0.0_real64) then
      problem = 'p0 must be positive, and the pressure of the top not negative'
    else if (any(hyai(2:) + hybi(2:) <= hyai(:n) + hybi(:n))) then
      problem = 'hyai + hybi must increase downward'
    else if (abs(hyai(n + 1)) > 0.0_real64 .or. abs(hybi(n + 1) - 1.0_real64) > 0.0_real64) then
      problem = 'the lowest interface must be the surface: hyai 0 and hybi 1'
    end if
  end function grid_problem

  !> Acts on a host's setting vertical_remap: none leaves the remap inactive, conservative takes the
  !! package's grid.
  subroutine initialize_from(self, emulator, choice, status)
    class(climlink_remap), intent(inout) :: self
    type(climlink_emulator), intent(in) :: emulator             !! Open.
    character(len=*), intent(in) :: choice
    type(climlink_status), intent(out), optional :: status
    type(climlink_status) :: outcome
    real(real64), allocatable :: hyai(:), hybi(:)
    real(real64) :: p0

    if (choice == remap_conservative) then
      call emulator%vertical_grid(p0, hyai, hybi)
      if (size(hyai) == 0) then
        outcome = failure(climlink_error_host, process_rank(), 'vertical_remap: the package ' // &
                          'states no vertical grid, so nothing can be remapped to it')
      else
        call self%initialize(p0, hyai, hybi, outcome)
      end if
    else if (choice /= 'none') then
      outcome = failure(climlink_error_argument, process_rank(), 'vertical_remap must be none ' // &
                        "or conservative, not '" // trim(choice) // "'")
    end if
    call settle(outcome, status)
  end subroutine initialize_from

  !> True after a successful initialize.
  pure function is_active(self) result(yes)
    class(climlink_remap), intent(in) :: self
    logical :: yes

    yes = allocated(self%hyai)
  end function is_active

  !> Levels of the package; 0 before initialize.
  pure function package_levels(self) result(n)
    class(climlink_remap), intent(in) :: self
    integer :: n

    n = 0
    if (self%is_active()) n = size(self%hyam)
  end function package_levels

  !> What a file or a log says of the remap; '' where there is none.
  function text(self, n_level)
    class(climlink_remap), intent(in) :: self
    integer, intent(in) :: n_level                            !! Of the host.
    character(len=:), allocatable :: text

    text = ''
    if (.not. self%is_active()) return
    text = remap_conservative // ', ' // number_text(n_level) // ' levels of the host, ' // &
           number_text(self%package_levels()) // ' of the package'
  end function text

  !> Pressures [Pa] at the midpoints of the package's levels, [sample, package level].
  pure subroutine package_midpoints(self, p_interface, pressure, status)
    class(climlink_remap), intent(in) :: self
    real(real64), intent(in) :: p_interface(:, :)             !! [sample, host level + 1], [Pa]
    real(real64), intent(out) :: pressure(:, :)
    type(climlink_status), intent(out) :: status

    pressure = 0.0_real64
    call self%check('package_midpoints', p_interface, pressure(:, :0), 0, shape(pressure), &
                    self%package_levels(), status)
    if (.not. status%ok()) return
    pressure = pressure_at_midpoints(self%p0, self%hyam, self%hybm, &
                                     p_interface(:, ubound(p_interface, 2)))
  end subroutine package_midpoints

  !> Means of the host's layers to means of the package's. Above the host's top its top value holds;
  !! what the host has above the package's top is left out.
  pure subroutine to_package(self, p_interface, values, remapped, status)
    class(climlink_remap), intent(in) :: self
    real(real64), intent(in) :: p_interface(:, :)             !! [sample, host level + 1], [Pa]
    real(real64), intent(in) :: values(:, :)                  !! [sample, host level]
    real(real64), intent(out) :: remapped(:, :)               !! [sample, package level]
    type(climlink_status), intent(out) :: status
    real(real64) :: host(size(p_interface, 2)), column(size(values, 2)), rise(size(values, 2))
    real(real64) :: package(self%package_levels() + 1)
    integer :: i

    remapped = 0.0_real64
    call self%check('to_package', p_interface, values, size(p_interface, 2) - 1, shape(remapped), &
                    self%package_levels(), status)
    if (.not. status%ok()) return
    do i = 1, size(values, 1)
      host = p_interface(i, :)
      column = values(i, :)
      package = self%p0 * self%hyai + self%hybi * host(size(host))
      call limited_rise(host, column, rise)
      host(1) = min(host(1), package(1))
      call average_shared(host, column, rise, package, remapped(i, :))
    end do
  end subroutine to_package

  !> Tendencies of the package's layers to the host's, with the same sum of tendency * dp. What the
  !! package has above the host's top goes to the host's top layer; what the host has above the
  !! package's top gets 0.
  pure subroutine to_host(self, p_interface, tendency, remapped, status)
    class(climlink_remap), intent(in) :: self
    real(real64), intent(in) :: p_interface(:, :)             !! [sample, host level + 1], [Pa]
    real(real64), intent(in) :: tendency(:, :)                !! [sample, package level]
    real(real64), intent(out) :: remapped(:, :)               !! [sample, host level]
    type(climlink_status), intent(out) :: status
    real(real64) :: host(size(p_interface, 2)), thickness(size(p_interface, 2) - 1)
    real(real64) :: package(self%package_levels() + 1), column(self%package_levels())
    real(real64) :: rise(self%package_levels())
    integer :: i, n

    n = size(p_interface, 2) - 1
    remapped = 0.0_real64
    call self%check('to_host', p_interface, tendency, self%package_levels(), shape(remapped), n, &
                    status)
    if (.not. status%ok()) return
    do i = 1, size(tendency, 1)
      host = p_interface(i, :)
      thickness = host(2:) - host(:n)
      column = tendency(i, :)
      package = self%p0 * self%hyai + self%hybi * host(n + 1)
      call limited_rise(package, column, rise)
      host(1) = min(host(1), package(1))
      call average_shared(package, column, rise, host, remapped(i, :))
      ! The pressure that a layer shares with the package's column, of its own thickness.
      remapped(i, :) = remapped(i, :) * (max(host(2:) - max(host(:n), package(1)), 0.0_real64) &
                                         / thickness)
    end do
  end subroutine to_host

  !> Keeps q + dt * tendency from falling below 0, or below q where the host's q is negative itself:
  !! layers borrow from their neighbours, as in E3SM (Zhang et al. 2018, Geosci. Model
  !! Dev. 11, 1971-1988). The column's sum of tendency * dp stays; what the whole column cannot give
  !! is missing in its lowest layer.
  pure subroutine keep_positive(self, p_interface, q, dt, tendency, moved, unfilled, status)
    class(climlink_remap), intent(in) :: self
    real(real64), intent(in) :: p_interface(:, :)             !! [sample, host level + 1], [Pa]
    real(real64), intent(in) :: q(:, :)                       !! [sample, host level], [kg/kg]
    real(real64), intent(in) :: dt                            !! [s]
    real(real64), intent(inout) :: tendency(:, :)             !! [sample, host level], [kg/kg/s]
    real(real64), intent(out) :: moved(:)                     !! [sample], what layers fell short
                                                              !! by and got, [kg/kg Pa]: divided by
                                                              !! gravity, [kg/m2].
    real(real64), intent(out) :: unfilled(:)                  !! [sample], the same, but not got.
    type(climlink_status), intent(out) :: status
    real(real64) :: thickness(size(q, 2)), after(size(q, 2)), short
    integer :: i, n

    n = size(q, 2)
    moved = 0.0_real64
    unfilled = 0.0_real64
    call self%check('keep_positive', p_interface, q, size(p_interface, 2) - 1, shape(tendency), &
                    size(q, 2), status)
    if (status%ok()) call self%check('keep_positive', p_interface, tendency, n, shape(q), n, status)
    if (status%ok() .and. any([size(moved), size(unfilled)] /= size(q, 1))) then
      status = refusal(self, climlink_error_shape, 'keep_positive', &
                       'moved and unfilled need one number per column')
    else if (status%ok() .and. .not. dt > 0.0_real64) then
      status = refusal(self, climlink_error_argument, 'keep_positive', &
                       'the time step must be above 0 s')
    end if
    if (.not. status%ok()) return
    do i = 1, size(q, 1)
      thickness = p_interface(i, 2:) - p_interface(i, :n)
      after = (q(i, :) + dt * tendency(i, :) - min(q(i, :), 0.0_real64)) * thickness
      short = -sum(min(after, 0.0_real64))
      if (.not. short > 0.0_real64) cycle
      call borrow(thickness, q(i, :), dt, tendency(i, :))
      unfilled(i) = max(min(q(i, n), 0.0_real64) - (q(i, n) + dt * tendency(i, n)), 0.0_real64) &
        * thickness(n)
      moved(i) = short - unfilled(i)
    end do
  end subroutine keep_positive

  !> Refuses what cannot be remapped; columns and levels in messages count from 1.
  pure subroutine check(self, doing, p_interface, values, n_from, extents, n_to, status)
    class(climlink_remap), intent(in) :: self
    character(len=*), intent(in) :: doing
    real(real64), intent(in) :: p_interface(:, :), values(:, :)
    integer, intent(in) :: n_from                    !! Levels that values must have.
    integer, intent(in) :: extents(2), n_to          !! Of the result, and the levels it must have.
    type(climlink_status), intent(out) :: status
    character(len=160) :: text
    integer :: i, n

    status%message = ''
    text = ''
    n = size(p_interface, 1)
    if (.not. self%is_active()) then
      status = refusal(self, climlink_error_state, doing, 'call initialize first')
      return
    else if (size(p_interface, 2) < 2) then
      text = 'p_interface needs two interfaces or more, [column, host level + 1]'
    else if (size(values, 2) /= n_from .or. extents(2) /= n_to) then
      write (text, '(4(a,i0),a)') 'expected arrays of ', n_from, ' and ', n_to, &
        ' levels, [column, level], got ', size(values, 2), ' and ', extents(2), ' levels'
    else if (size(values, 1) /= n .or. extents(1) /= n) then
      write (text, '(3(a,i0))') 'p_interface has ', n, ' columns, the other arrays have ', &
        size(values, 1), ' and ', extents(1)
    end if
    if (len_trim(text) > 0) status = refusal(self, climlink_error_shape, doing, text)
    do i = 1, n
      if (.not. status%ok()) return
      call check_column(self, doing, i, p_interface(i, :), values(i, :), status)
    end do
  end subroutine check

  !> One column: finite numbers, and pressures of both grids that increase downward.
  pure subroutine check_column(self, doing, i, p, values, status)
    class(climlink_remap), intent(in) :: self
    character(len=*), intent(in) :: doing
    integer, intent(in) :: i
    real(real64), intent(in) :: p(:), values(:)
    type(climlink_status), intent(inout) :: status   !! Stays where nothing is wrong.
    real(real64) :: package(size(self%hyai))
    character(len=160) :: text
    integer :: code, k, n

    n = size(p) - 1
    text = ''
    code = climlink_error_nonfinite
    if (.not. all(ieee_is_finite(p))) then
      write (text, '(2(a,i0))') 'NaN or Inf in p_interface: column ', i, ', interface ', &
        findloc(ieee_is_finite(p), .false., dim=1)
    else if (.not. all(ieee_is_finite(values))) then
      write (text, '(2(a,i0))') 'NaN or Inf: column ', i, ', level ', &
        findloc(ieee_is_finite(values), .false., dim=1)
    else
      code = climlink_error_host
      package = self%p0 * self%hyai + self%hybi * p(n + 1)
      k = findloc(p(2:) <= p(:n), .true., dim=1)
      if (p(1) < 0.0_real64) then
        write (text, '(a,i0,a,g0.6,a)') 'column ', i, ': the pressure of the top is ', p(1), ' Pa'
      else if (k > 0) then
        write (text, '(2(a,i0),2(a,g0.6),a)') 'column ', i, ', level ', k, &
          ': pressure must increase downward, but goes from ', p(k), ' to ', p(k + 1), ' Pa'
      else if (any(package(2:) <= package(:size(package) - 1))) then
        write (text, '(a,i0,a,g0.6,a)') 'column ', i, &
          ": the package's levels cross at a surface pressure of ", p(n + 1), ' Pa'
      end if
    end if
    if (len_trim(text) > 0) status = refusal(self, code, doing, text)
  end subroutine check_column

  pure function refusal(self, code, doing, text) result(status)
    class(climlink_remap), intent(in) :: self
    integer, intent(in) :: code
    character(len=*), intent(in) :: doing, text
    type(climlink_status) :: status

    status = failure(code, self%rank, 'vertical remap: ' // doing // ': ' // trim(text))
  end function refusal

end module climlink_vertical_remap
