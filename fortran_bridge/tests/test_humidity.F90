!> Saturation vapour pressure and relative humidity against values computed in 50-digit arithmetic
!! from the published formula.
program test_humidity
  use, intrinsic :: iso_fortran_env, only: error_unit, real64
  use climlink_humidity, only: pressure_at_midpoints, relative_humidity, saturation_vapor_pressure
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
  real(real64), parameter :: humidity_at_260_k = 5.4887260302589636e-01_real64
  real(real64), parameter :: tolerance = 1e-9_real64    !! The polynomials lose six digits by
                                                        !! cancellation near 185 K.
  real(real64) :: levels(2, 3)
  integer :: i

  do i = 1, n_value
    call close_to(saturation_vapor_pressure(temperatures(i)), pressures(i), &
                  'saturation vapour pressure')
  end do
  call close_to(relative_humidity(260.0_real64, 1e-3_real64, 7e4_real64), humidity_at_260_k, &
                'relative humidity')
  levels = pressure_at_midpoints(1e5_real64, [0.1_real64, 0.05_real64, 0.0_real64], &
                                 [0.0_real64, 0.5_real64, 1.0_real64], [9e4_real64, 1e5_real64])
  call close_to(levels(1, 2), 5e3_real64 + 4.5e4_real64, 'pressure at midpoints')
  call close_to(levels(2, 3), 1e5_real64, 'pressure of the lowest level')

contains

  subroutine close_to(got, expected, what)
    real(real64), intent(in) :: got
    real(real64), intent(in) :: expected
    character(len=*), intent(in) :: what

    if (abs(got - expected) <= tolerance * abs(expected)) return
    write (error_unit, '(2a,2(a,es24.16))') 'FAILED: ', what, ': got ', got, ', expected ', expected
    error stop 1
  end subroutine close_to

end program test_humidity
