!> The vertical remap against values worked out by hand, closed forms of smooth profiles, and what
!! it refuses. check_vertical_remap.py holds it against exact arithmetic on the grids of E3SM.
program test_vertical_remap
  use, intrinsic :: ieee_arithmetic, only: ieee_positive_inf, ieee_quiet_nan, ieee_value
  use, intrinsic :: iso_fortran_env, only: real64
  use climlink, only: climlink_error_argument, climlink_error_host, climlink_error_nonfinite, &
                      climlink_error_shape, climlink_error_state, climlink_status
  use climlink_vertical_remap, only: climlink_remap
  use test_support, only: check, check_error, finish, same_bits
  implicit none (type, external)

  real(real64), parameter :: p0 = 1e5_real64, ps = 9.7e4_real64
  real(real64), parameter :: exact_p0 = 2.0_real64**20    !! Divides without rounding.
  type(climlink_status) :: status

  call test_equal_layers_keep_their_bits()
  call test_constants()
  call test_limited_profile_by_hand()
  call test_package_top_above_host_top()
  call test_host_top_above_package_top()
  call test_rounding_makes_no_extreme()
  call test_linear_profile()
  call test_order_of_accuracy()
  call test_midpoints()
  call test_borrowing_by_hand()
  call test_refused_grids()
  call test_refused_columns()
  call finish()

contains

  !> A package whose interfaces lie at these pressures, the surface excepted.
  function package_at(pressures) result(remap)
    real(real64), intent(in) :: pressures(:)    !! [package level], [Pa]
    type(climlink_remap) :: remap
    real(real64) :: hybi(size(pressures) + 1)

    hybi = 0.0_real64
    hybi(size(hybi)) = 1.0_real64
    call remap%initialize(exact_p0, [pressures / exact_p0, 0.0_real64], hybi)
  end function package_at

  !> Smooth levels: layers thicken downward, and follow the surface more and more.
  subroutine smooth_levels(n, hyai, hybi)
    integer, intent(in) :: n
    real(real64), intent(out) :: hyai(:), hybi(:)    !! [n + 1]
    integer :: k

    do k = 1, n + 1
      hybi(k) = real(k - 1, real64) / real(n, real64)
      hyai(k) = 0.01_real64 * (1.0_real64 - hybi(k)) + 0.4_real64 * hybi(k) * (1.0_real64 - hybi(k))
    end do
  end subroutine smooth_levels

  function column_of(values) result(column)
    real(real64), intent(in) :: values(:)
    real(real64) :: column(1, size(values))

    column(1, :) = values
  end function column_of

  function all_close(got, expected, tolerance) result(yes)
    real(real64), intent(in) :: got(:), expected(:), tolerance
    logical :: yes

    yes = all(abs(got - expected) <= tolerance)
  end function all_close

  subroutine test_equal_layers_keep_their_bits()
    integer, parameter :: n = 30, n_split = 31
    type(climlink_remap) :: remap
    real(real64) :: hyai(n + 1), hybi(n + 1), p(2, n + 1), values(2, n), there(2, n), back(2, n)
    real(real64) :: split_p(1, n_split + 1), split(1, n_split), joined(1, n)

    call smooth_levels(n, hyai, hybi)
    call remap%initialize(p0, hyai, hybi)
    call random_number(values)
    values(1, 7) = -0.0_real64
    values(2, 8:9) = [0.0_real64, -1e300_real64]
    p(1, :) = p0 * hyai + hybi * ps
    p(2, :) = p0 * hyai + hybi * 6.1e4_real64
    call remap%to_package(p, values, there, status)
    call check(status%ok() .and. all(same_bits(there, values)), 'to_package between equal grids')
    call remap%to_host(p, values, back, status)
    call check(status%ok() .and. all(same_bits(back, values)), 'to_host between equal grids')

    split_p(1, :) = [p(1, :10), 0.5_real64 * (p(1, 10) + p(1, 11)), p(1, 11:)]
    call random_number(split)
    call remap%to_package(split_p, split, joined, status)
    call check(all(same_bits(joined(1, :9), split(1, :9))) .and. &
               all(same_bits(joined(1, 11:), split(1, 12:))), 'layers that both grids have')
    call check(all_close(joined(1, 10:10), [0.5_real64 * sum(split(1, 10:11))], 1e-14_real64), &
               'a layer of two halves')
  end subroutine test_equal_layers_keep_their_bits

  subroutine test_constants()
    integer, parameter :: n = 23, n_host = 37
    type(climlink_remap) :: remap
    real(real64) :: hyai(n + 1), hybi(n + 1), a(n_host + 1), b(n_host + 1), host(1, n_host)
    real(real64) :: package(1, n)
    real(real64), parameter :: constant = 0.1_real64

    call smooth_levels(n, hyai, hybi)
    call remap%initialize(p0, hyai, hybi)
    call smooth_levels(n_host, a, b)
    host = constant
    call remap%to_package(column_of(p0 * a + b * ps), host, package, status)
    call check(status%ok() .and. all(same_bits(package, constant)), 'constant to the package')
    call remap%to_host(column_of(p0 * a + b * ps), package, host, status)
    call check(status%ok() .and. all(same_bits(host, constant)), 'constant to the host')
  end subroutine test_constants

  !> Host layers of 10 Pa with 0 0 6 8 9: layer 3 is cut off at its neighbour above (no rise where
  !! the profile turns, at most twice the smaller step elsewhere), so it rises by min(4, 12, 4) = 4
  !! and layer 4 by min(1.5, 4, 2) = 1.5.
  subroutine test_limited_profile_by_hand()
    type(climlink_remap) :: remap
    real(real64) :: package(1, 5)

    remap = package_at([10.0_real64, 25.0_real64, 35.0_real64, 42.5_real64, 50.0_real64])
    call remap%to_package(column_of([10.0_real64, 20.0_real64, 30.0_real64, 40.0_real64, &
                                     50.0_real64, 60.0_real64]), &
                          column_of([0.0_real64, 0.0_real64, 6.0_real64, 8.0_real64, 9.0_real64]), &
                          package, status)
    call check(status%ok() .and. all_close(package(1, :), [ &
      0.0_real64, (0.0_real64 * 5.0_real64 + 5.0_real64 * 5.0_real64) / 10.0_real64, &
      (7.0_real64 * 5.0_real64 + (8.0_real64 - 0.5625_real64) * 2.5_real64) / 7.5_real64, &
      8.1875_real64, 9.0_real64], 1e-14_real64), 'limited profile')
  end subroutine test_limited_profile_by_hand

  !> Above the host's top its top value holds; tendencies up there go to its top layer.
  subroutine test_package_top_above_host_top()
    type(climlink_remap) :: remap
    real(real64) :: package(1, 3), host(1, 3)
    real(real64) :: p(1, 4)

    remap = package_at([0.0_real64, 4.0_real64, 20.0_real64])
    p = column_of([10.0_real64, 20.0_real64, 40.0_real64, 100.0_real64])
    call remap%to_package(p, column_of([5.0_real64, 7.0_real64, 11.0_real64]), package, status)
    call check(status%ok() .and. all_close(package(1, :), [5.0_real64, 5.0_real64, &
                                           (7.0_real64 * 20.0_real64 + 11.0_real64 * 60.0_real64) &
                                           / 80.0_real64], 1e-14_real64), 'extended host top')
    call remap%to_host(p, column_of([2.0_real64, 3.0_real64, 4.0_real64]), host, status)
    call check(status%ok() .and. all_close(host(1, :), [(2.0_real64 * 4.0_real64 + 3.0_real64 &
                                           * 16.0_real64) / 10.0_real64, 4.0_real64, 4.0_real64], &
                                           1e-14_real64), 'tendencies above the host top')
  end subroutine test_package_top_above_host_top

  !> What the host has above the package's top is left out, and gets no tendency.
  subroutine test_host_top_above_package_top()
    type(climlink_remap) :: remap
    real(real64) :: package(1, 2), host(1, 3)
    real(real64) :: p(1, 4)

    remap = package_at([15.0_real64, 20.0_real64])
    p = column_of([1.0_real64, 10.0_real64, 20.0_real64, 100.0_real64])
    call remap%to_package(p, column_of([900.0_real64, 4.0_real64, 4.0_real64]), package, status)
    call check(status%ok() .and. all(same_bits(package, 4.0_real64)), 'host above the package')
    call remap%to_host(p, column_of([6.0_real64, 8.0_real64]), host, status)
    call check(status%ok() .and. all_close(host(1, :), [0.0_real64, 3.0_real64, 8.0_real64], &
                                           1e-14_real64), 'no tendency above the package')
  end subroutine test_host_top_above_package_top

  !> 0.3 + (0.9 - 0.3) is above 0.9, and 0.4 - (0.4 - 0.1) below 0.1, in real64: a layer that shares
  !! a sliver with its neighbour, and a sliver at the top of a steep layer.
  subroutine test_rounding_makes_no_extreme()
    type(climlink_remap) :: remap
    real(real64), parameter :: sliver = 1e-15_real64
    real(real64) :: package(1, 2)

    remap = package_at([nearest(1.0_real64, -1.0_real64), 9e4_real64])
    call remap%to_package(column_of([0.0_real64, 1.0_real64, 9e4_real64, 9.1e4_real64]), &
                          column_of([0.3_real64, 0.9_real64, 0.9_real64]), package, status)
    call check(status%ok() .and. package(1, 1) <= 0.9_real64, 'no value above the largest')
    remap = package_at([sliver, 1.5_real64 * sliver])
    call remap%to_package(column_of([0.0_real64, sliver, 9e4_real64, 9.1e4_real64]), &
                          column_of([0.1_real64, 0.4_real64, 9.0_real64]), package, status)
    call check(status%ok() .and. package(1, 1) >= 0.1_real64, 'no value below the smallest')
  end subroutine test_rounding_makes_no_extreme

  !> 2 + 3p between layers of any thickness; only layers in the host's first and last are constant.
  subroutine test_linear_profile()
    integer, parameter :: n = 40, n_host = 61
    type(climlink_remap) :: remap
    real(real64) :: hyai(n + 1), hybi(n + 1), a(n_host + 1), b(n_host + 1), host(n_host + 1)
    real(real64) :: package(n + 1), remapped(1, n)
    integer :: first, last

    call smooth_levels(n, hyai, hybi)
    call remap%initialize(p0, hyai, hybi)
    call smooth_levels(n_host, a, b)
    a(20:40:3) = a(20:40:3) + 0.002_real64    ! Layers of uneven thickness.
    host = p0 * a + b * ps
    package = p0 * hyai + hybi * ps
    call remap%to_package(column_of(host), column_of(2.0_real64 + 1.5_real64 * (host(:n_host) &
                                                                                + host(2:))), &
                          remapped, status)
    first = findloc(package >= host(2), .true., dim=1)
    last = findloc(package <= host(n_host), .true., dim=1, back=.true.) - 1
    call check(last - first > n - 5, 'most layers are inside')
    ! Values of up to 3e5: a few roundings of 6e-11.
    call check(all_close(remapped(1, first:last), 2.0_real64 + 1.5_real64 &
                         * (package(first:last) + package(first + 1:last + 1)), 3e-10_real64), &
               'linear profile')
  end subroutine test_linear_profile

  !> Twice the levels, a quarter of the error (exp of p, whose means are known).
  subroutine test_order_of_accuracy()
    real(real64) :: error(3)

    error = [mean_error(40), mean_error(80), mean_error(160)]
    call check(all(error(:2) / error(2:) > 3.6_real64) .and. error(1) > 1e-6_real64, 'second order')
  end subroutine test_order_of_accuracy

  function mean_error(n_host) result(error)
    integer, intent(in) :: n_host
    real(real64) :: error
    type(climlink_remap) :: remap
    real(real64) :: hyai(3 * n_host / 4 + 1), hybi(size(hyai)), a(n_host + 1), b(n_host + 1)
    real(real64) :: host(n_host + 1), package(size(hyai)), remapped(1, size(hyai) - 1)
    integer :: n

    n = size(hyai) - 1
    call smooth_levels(n, hyai, hybi)
    call remap%initialize(p0, hyai, hybi)
    call smooth_levels(n_host, a, b)
    host = a + b    ! Pressures in p0, at a surface pressure of 1.
    package = hyai + hybi
    call remap%to_package(column_of(p0 * host), column_of((exp(host(2:)) - exp(host(:n_host))) &
                                                         / (host(2:) - host(:n_host))), &
                          remapped, status)
    associate (exact => (exp(package(2:)) - exp(package(:n))) / (package(2:) - package(:n)))
      error = sum(abs(remapped(1, 3:n - 2) - exact(3:n - 2))) / real(n - 4, real64)
    end associate
  end function mean_error

  subroutine test_midpoints()
    type(climlink_remap) :: remap
    real(real64) :: pressure(2, 2)
    real(real64) :: p(2, 2)

    p(:, 1) = 10.0_real64
    p(:, 2) = [100.0_real64, 200.0_real64]
    remap = package_at([20.0_real64, 40.0_real64])
    call check(remap%is_active() .and. remap%package_levels() == 2, 'levels of the package')
    call remap%package_midpoints(p, pressure, status)
    call check(status%ok() .and. all_close([pressure], [30.0_real64, 30.0_real64, 70.0_real64, &
                                           120.0_real64], 1e-13_real64), 'means of interfaces')
    call remap%initialize(100.0_real64, [0.1_real64, 0.2_real64, 0.0_real64], &
                          [0.0_real64, 0.2_real64, 1.0_real64], status, &
                          hyam=[0.12_real64, 0.05_real64], hybm=[0.1_real64, 0.75_real64])
    call remap%package_midpoints(p, pressure, status)
    call check(status%ok() .and. all_close([pressure], [22.0_real64, 32.0_real64, 80.0_real64, &
                                           155.0_real64], 1e-13_real64), 'midpoints as given')
  end subroutine test_midpoints

  !> Layers of 1, 2 and 4 Pa. Column 1: the lowest layer falls short by 0.04 * 4 kg/kg Pa, which is
  !! more than the 0.03 * 2 of the layer above it, so the top gives the other 0.1. Column 2:
  !! the layer below gives the middle the 0.2 that it falls short by. Column 3 lacks 0.5 of the 1
  !! that its middle falls short by. Column 4 is dry by itself, and negative in one layer already:
  !! neither is made worse. Column 5: a negative layer gains 0.02 and lends 0.012 of it.
  subroutine test_borrowing_by_hand()
    type(climlink_remap) :: remap
    real(real64), parameter :: dt = 10.0_real64
    real(real64) :: p(5, 4), q(5, 3), tendency(5, 3), before(5, 3), after(5, 3)
    real(real64) :: moved(5), unfilled(5)
    integer :: i

    remap = package_at([1.0_real64])
    do i = 1, 5
      p(i, :) = [10.0_real64, 11.0_real64, 13.0_real64, 17.0_real64]
    end do
    q(1, :) = [0.2_real64, 0.03_real64, 0.02_real64]
    q(2, :) = [0.5_real64, 0.1_real64, 0.1_real64]
    q(3, :) = 0.1_real64
    q(4, :) = [0.0_real64, -0.01_real64, 0.4_real64]
    q(5, :) = [0.3_real64, -0.02_real64, 0.0_real64]
    tendency = 0.0_real64
    tendency(5, 2:) = [0.001_real64, -0.0003_real64]
    tendency(1, 3) = -0.006_real64
    tendency(2, 2) = -0.02_real64
    tendency(3, 2) = -0.06_real64
    tendency(4, 3) = -0.04_real64
    before = tendency
    call remap%keep_positive(p, q, dt, tendency, moved, unfilled, status)
    after = q + dt * tendency
    call check(status%ok() .and. all(after(1:2, :) >= 0.0_real64), 'no negative water')
    call check(all_close(after(1, :), [0.1_real64, 0.0_real64, 0.0_real64], 1e-15_real64) .and. &
               all_close(after(2, :), [0.5_real64, 0.0_real64, 0.05_real64], 1e-15_real64), &
               'who lends')
    call check(all(same_bits(tendency(4, :), before(4, :))), 'column left alone')
    call check(all_close(after(3, :), [0.0_real64, 0.0_real64, -0.125_real64], 1e-15_real64), &
               'what the column lacks')
    call check(all_close(after(5, :), [0.3_real64, -0.016_real64, 0.0_real64], 1e-15_real64), &
               'negative before')
    call check(all_close(moved, [0.16_real64, 0.2_real64, 0.5_real64, 0.0_real64, 0.012_real64], &
                         1e-15_real64), 'moved')
    call check(all_close(unfilled, [0.0_real64, 0.0_real64, 0.5_real64, 0.0_real64, 0.0_real64], &
                         1e-15_real64), 'unfilled')
  end subroutine test_borrowing_by_hand

  subroutine test_refused_grids()
    type(climlink_remap) :: remap
    real(real64) :: none(0), values(1, 1)

    call remap%to_host(column_of([1.0_real64, 2.0_real64]), values(:, :0), values, status)
    call check_error(status, climlink_error_state, 'to_host: call initialize first')
    call remap%initialize(p0, none, none, status)
    call check_error(status, climlink_error_argument, 'the package states none')
    call remap%initialize(p0, [0.1_real64, 0.0_real64], [1.0_real64], status)
    call check_error(status, climlink_error_argument, 'the same number of interfaces')
    call remap%initialize(p0, [0.1_real64, 0.0_real64], [0.0_real64, 0.9_real64], status)
    call check_error(status, climlink_error_argument, 'must be the surface')
    call remap%initialize(p0, [0.1_real64, 0.1_real64, 0.0_real64], &
                          [0.1_real64, 0.1_real64, 1.0_real64], status)
    call check_error(status, climlink_error_argument, 'must increase downward')
    call remap%initialize(p0, [ieee_value(p0, ieee_quiet_nan), 0.0_real64], &
                          [0.0_real64, 1.0_real64], status)
    call check_error(status, climlink_error_argument, 'finite')
    call remap%initialize(p0, [0.1_real64, 0.0_real64], [0.0_real64, 1.0_real64], status, &
                          hyam=[0.5_real64])
    call check_error(status, climlink_error_argument, 'hyam and hybm are given together')
    call check(.not. remap%is_active() .and. remap%package_levels() == 0, 'refused, so not active')
  end subroutine test_refused_grids

  subroutine test_refused_columns()
    type(climlink_remap) :: remap
    real(real64) :: p(2, 4), values(2, 3), tendency(2, 3), package(2, 2), moved(2), unfilled(2)

    call remap%initialize(100.0_real64, [0.1_real64, 0.5_real64, 0.0_real64], &
                          [0.0_real64, 0.0_real64, 1.0_real64])
    p(1, :) = [10.0_real64, 20.0_real64, 30.0_real64, 100.0_real64]
    p(2, :) = p(1, :)
    values = 1.0_real64
    tendency = 0.0_real64
    call remap%to_package(p(:0, :), values(:0, :), package(:0, :), status)
    call check(status%ok(), 'no columns')
    call remap%to_package(transpose(p), values, package, status)
    call check_error(status, climlink_error_shape, 'expected arrays of 1 and 2 levels')
    call remap%to_package(p, values(:1, :), package, status)
    call check_error(status, climlink_error_shape, 'p_interface has 2 columns')
    call remap%to_host(p, package, values(:, :2), status)
    call check_error(status, climlink_error_shape, 'expected arrays of 2 and 3 levels')
    call remap%package_midpoints(p, values, status)
    call check_error(status, climlink_error_shape, 'and 2 levels')
    values(2, 3) = ieee_value(p0, ieee_positive_inf)
    call remap%to_package(p, values, package, status)
    call check_error(status, climlink_error_nonfinite, 'to_package: NaN or Inf: column 2, level 3')
    values(2, 3) = 1.0_real64
    call remap%keep_positive(p, values, 0.0_real64, tendency, moved, unfilled, status)
    call check_error(status, climlink_error_argument, 'time step')
    call remap%keep_positive(p, values, 1.0_real64, tendency, moved(:1), unfilled, status)
    call check_error(status, climlink_error_shape, 'one number per column')
    tendency(1, 2) = ieee_value(p0, ieee_quiet_nan)
    call remap%keep_positive(p, values, 1.0_real64, tendency, moved, unfilled, status)
    call check_error(status, climlink_error_nonfinite, 'keep_positive: NaN or Inf: column 1, lev')
    p(2, 3) = 20.0_real64
    call remap%to_package(p, values, package, status)
    call check_error(status, climlink_error_host, &
                     'column 2, level 2: pressure must increase downward, but goes from 20.')
    p(2, 3) = ieee_value(p0, ieee_quiet_nan)
    call remap%to_host(p, package, values, status)
    call check_error(status, climlink_error_nonfinite, 'p_interface: column 2, interface 3')
    p(2, :) = [10.0_real64, 20.0_real64, 30.0_real64, 40.0_real64]
    call remap%to_package(p, values, package, status)
    call check_error(status, climlink_error_host, "column 2: the package's levels cross at a sur")
  end subroutine test_refused_columns

end program test_vertical_remap
