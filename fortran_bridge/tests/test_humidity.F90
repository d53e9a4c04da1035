!> Saturation vapour pressure and relative humidity against values computed in 50-digit arithmetic
!! from the published formula.
program test_humidity
  use, intrinsic :: iso_fortran_env, only: error_unit, real64
  use climlink_humidity, only: pressure_at_midpoints, relative_humidity, &
                               relative_humidity_legacy, saturation_vapor_pressure
  implicit none (type, external)

  integer, parameter :: n_value = 9
  real(real64), parameter :: temperatures(n_value) = [ &
    160.0_real64, 180.0_real64, 185.5_real64, &
    200.0_real64, 230.0_real64, 255.0_real64, &
    265.0_real64, 280.0_real64, 310.0_real64]
  real(real64), parameter :: pressures(n_value) = [ &
    1.2099999999999999e-03_real64, 5.6859527704000001e-03_real64, 1.4366027746323477e-02_real64, &
    1.6070550530235847e-01_real64, 8.9407465205032715e+00_real64, 1.2526413617655534e+02_real64, &
    3.2069499807453781e+02_real64, 9.9099466315924803e+02_real64, 6.2247996687797222e+03_real64]
  real(real64), parameter :: quarter_liquid_at_265_k = 3.1202815171590004e+02_real64
  real(real64), parameter :: humidity_at_260_k = 5.4887260302589636e-01_real64
  !> The same formula with its numbers rounded to single precision.
  real(real64), parameter :: legacy_pressures(n_value) = [ &
    1.2098957995476667e-03_real64, 5.6858515859804252e-03_real64, 1.3246229874355260e-02_real64, &
    1.6005644334185776e-01_real64, 8.9405401004176639e+00_real64, 1.2526403528953253e+02_real64, &
    3.2069488247020854e+02_real64, 9.9099440181725549e+02_real64, 6.2247983811092618e+03_real64]
  real(real64), parameter :: legacy_humidity_at_260_k = 5.4887286645823696e-01_real64
  !> By how much it makes relative humidity larger, in docs/e3sm-adapter.md to two digits.
  real(real64), parameter :: legacy_temperatures(3) = [220.0_real64, 200.0_real64, &
    185.000001_real64]
  real(real64), parameter :: legacy_excess(3) = [1.14e-4_real64, 4.06e-3_real64, 9.98e-2_real64]
  real(real64), parameter :: tolerance = 1e-9_real64    !! The polynomials lose six digits by
                                                        !! cancellation near 185 K.
  real(real64) :: levels(2, 3)
  integer :: i

  do i = 1, n_value
    call close_to(saturation_vapor_pressure(temperatures(i)), pressures(i), &
                  'saturation vapour pressure')
    call close_to(461e5_real64 * 1e-3_real64 &
                  / (287.0_real64 * relative_humidity_legacy(temperatures(i), 1e-3_real64, &
                                                             1e5_real64)), &
                  legacy_pressures(i), 'saturation vapour pressure of the published host code')
  end do
  call close_to(saturation_vapor_pressure(265.0_real64, liquid=0.25_real64), &
                quarter_liquid_at_265_k, 'saturation vapour pressure over a given mixture')
  call close_to(relative_humidity(260.0_real64, 1e-3_real64, 7e4_real64), humidity_at_260_k, &
                'relative humidity')
  call close_to(relative_humidity_legacy(260.0_real64, 1e-3_real64, 7e4_real64), &
                legacy_humidity_at_260_k, 'relative humidity of the published host code')
  do i = 1, size(legacy_temperatures)
    ! Half a unit of the third digit that stands in legacy_excess.
    call close_to(excess(legacy_temperatures(i)), legacy_excess(i), &
                  'excess of the published host code', within=0.005_real64)
  end do
  levels = pressure_at_midpoints(1e5_real64, [0.1_real64, 0.05_real64, 0.0_real64], &
                                 [0.0_real64, 0.5_real64, 1.0_real64], [9e4_real64, 1e5_real64])
  call close_to(levels(1, 2), 5e3_real64 + 4.5e4_real64, 'pressure at midpoints')
  call close_to(levels(2, 3), 1e5_real64, 'pressure of the lowest level')

contains

  !> By how much the published host code's relative humidity is larger, as a fraction.
  function excess(temperature)
    real(real64), intent(in) :: temperature
    real(real64) :: excess

    excess = relative_humidity_legacy(temperature, 1e-3_real64, 1e5_real64) &
             / relative_humidity(temperature, 1e-3_real64, 1e5_real64) - 1.0_real64
  end function excess

  subroutine close_to(got, expected, what, within)
    real(real64), intent(in) :: got
    real(real64), intent(in) :: expected
    character(len=*), intent(in) :: what
    real(real64), intent(in), optional :: within
    real(real64) :: allowed

    allowed = tolerance
    if (present(within)) allowed = within
    if (abs(got - expected) <= allowed * abs(expected)) return
    write (error_unit, '(2a,2(a,es24.16))') 'FAILED: ', what, ': got ', got, ', expected ', expected
    error stop 1
  end subroutine close_to

end program test_humidity
