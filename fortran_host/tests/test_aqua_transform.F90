!> The spectral transform and winds against closed forms.
program test_aqua_transform
  use aqua_constants, only: earth_radius, r8
  use aqua_grid_tendencies, only: grid_workspace
  use aqua_levels, only: hybrid_levels
  use aqua_test_support, only: check, check_close, random_spectra, synthesize_state, transform_of
  use aqua_transform, only: spectral_transform
  use aqua_winds, only: curl_of, divergence_of
  implicit none (type, external)

  integer, parameter :: truncations(3) = [10, 21, 42]
  integer :: i

  do i = 1, size(truncations)
    call round_trip(truncations(i))
    call harmonics(truncations(i))
    call winds_round_trip(truncations(i))
  end do
  call solid_rotation()

contains

  !> Spectral to grid and back; one row alone gives the same as among others.
  subroutine round_trip(truncation)
    integer, intent(in) :: truncation
    integer, parameter :: n_row = 7
    type(spectral_transform) :: transform
    real(r8), allocatable :: spectra(:, :, :), back(:, :, :), field(:, :), alone(:, :)

    transform = transform_of(truncation)
    spectra = random_spectra(transform, n_row)
    allocate (back, mold=spectra)
    allocate (field(n_row, transform%grid%n_column), alone(1, transform%grid%n_column))
    call transform%synthesize(spectra, field)
    call transform%analyze(field, back)
    call check(maxval(abs(back - spectra)) < 1.0e-13_r8, 'transform: round trip')
    call transform%synthesize(spectra(3:3, :, :), alone)
    call check(maxval(abs(alone(1, :) - field(3, :))) < 1.0e-12_r8, 'transform: one row alone')
  end subroutine round_trip

  !> Coefficients of fields known in closed form: 2, sqrt(3) sin(lat), and sqrt(3/2) cos(lat)
  !! (cos(lon) - sin(lon)).
  subroutine harmonics(truncation)
    integer, intent(in) :: truncation
    type(spectral_transform) :: transform
    real(r8), allocatable :: spectra(:, :, :), field(:, :), expected(:, :)
    integer :: i, j, column

    transform = transform_of(truncation)
    allocate (spectra(3, 2, transform%n_coefficient), source=0.0_r8)
    allocate (field(3, transform%grid%n_column), expected(3, transform%grid%n_column))
    spectra(1, 1, 1) = 2.0_r8
    spectra(2, 1, 2) = 1.0_r8
    spectra(3, :, transform%first(1)) = 0.5_r8
    do j = 1, transform%grid%n_lat
      do i = 1, transform%grid%n_lon
        column = i + (j - 1) * transform%grid%n_lon
        associate (latitude => transform%grid%latitude(j), longitude => transform%grid%longitude(i))
          expected(:, column) = [2.0_r8, sqrt(3.0_r8) * sin(latitude), &
                                 sqrt(1.5_r8) * cos(latitude) * (cos(longitude) - sin(longitude))]
        end associate
      end do
    end do
    call transform%synthesize(spectra, field)
    call check(maxval(abs(field - expected)) < 1.0e-14_r8 * 10.0_r8, &
               'transform: harmonics in closed form')
  end subroutine harmonics

  !> Vorticity and divergence to winds and back.
  subroutine winds_round_trip(truncation)
    integer, intent(in) :: truncation
    type(spectral_transform) :: transform
    type(hybrid_levels) :: one_level
    type(grid_workspace) :: work
    real(r8), allocatable :: state(:, :, :), components(:, :), spectra(:, :, :), curl(:, :, :), &
                             divergence(:, :, :)
    integer :: column, c

    transform = transform_of(truncation)
    one_level%n_level = 1
    call work%allocate_for(transform, one_level)
    state = random_spectra(transform, 4)
    state(:2, :, 1) = 0.0_r8
    call synthesize_state(transform, state, work)
    allocate (components(2, transform%grid%n_column), spectra(2, 2, transform%n_coefficient))
    allocate (curl(1, 2, transform%n_coefficient), divergence(1, 2, transform%n_coefficient))
    do column = 1, transform%grid%n_column
      ! From u cos(lat) to u / cos(lat).
      components(:, column) = work%fields(:2, &
                                          column) / cos(transform%grid%latitude((column &
                                          - 1) / transform%grid%n_lon + 1))**2
    end do
    call transform%analyze(components, spectra)
    call curl_of(transform, spectra(:1, :, :), spectra(2:, :, :), curl)
    call divergence_of(transform, spectra(:1, :, :), spectra(2:, :, :), divergence)
    do c = 1, transform%n_coefficient
      if (transform%total(c) > truncation) cycle
      call check(maxval(abs(curl(1, :, c) - state(1, :, c))) < 1.0e-13_r8 * real(truncation, r8), &
                 'winds: vorticity')
      call check(maxval(abs(divergence(1, :, c) - state(2, :, c))) &
                 < 1.0e-13_r8 * real(truncation, r8), 'winds: divergence')
    end do
  end subroutine winds_round_trip

  !> Vorticity 2 u0 / a sin(lat) is the wind u0 cos(lat); divergence 2 v0 / a sin(lat) is v = -v0
  !! cos(lat). The gradient of ln ps = sin(lat) is cos(lat) northward.
  subroutine solid_rotation()
    type(spectral_transform) :: transform
    type(hybrid_levels) :: one_level
    type(grid_workspace) :: work
    real(r8), allocatable :: state(:, :, :)
    real(r8), parameter :: u0 = 20.0_r8, v0 = 3.0_r8
    real(r8) :: cosine
    integer :: column

    transform = transform_of(10)
    one_level%n_level = 1
    call work%allocate_for(transform, one_level)
    allocate (state(4, 2, transform%n_coefficient), source=0.0_r8)
    state(1, 1, 2) = 2.0_r8 * u0 / earth_radius / sqrt(3.0_r8)
    state(2, 1, 2) = 2.0_r8 * v0 / earth_radius / sqrt(3.0_r8)
    state(4, 1, 2) = 1.0_r8 / sqrt(3.0_r8)
    call synthesize_state(transform, state, work)
    do column = 1, transform%grid%n_column
      cosine = cos(transform%grid%latitude((column - 1) / transform%grid%n_lon + 1))
      call check_close(work%fields(1, column), u0 * cosine**2, 1.0e-13_r8 * u0, &
                       'winds: solid rotation')
      call check_close(work%fields(2, column), -v0 * cosine**2, 1.0e-13_r8 * u0, &
                       'winds: flow between the poles')
      call check_close(work%fields(8, column), cosine**2, 1.0e-13_r8, 'winds: gradient')
    end do
  end subroutine solid_rotation

end program test_aqua_transform
