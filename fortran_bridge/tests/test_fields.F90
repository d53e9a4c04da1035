!> Rows of fields, and a provider of them as hosts have it: a procedure of a module.
module test_field_rows
  use, intrinsic :: iso_fortran_env, only: real64
  use climlink, only: climlink_status
  implicit none (type, external)
  private

  public :: made, packed

  integer, parameter, public :: n_field = 3, n_lat = 3, n_lon = 4, n_depth = 2
  integer, parameter, public :: n_input = n_depth * n_lat * n_lon + 1 + n_lat * n_lon + n_lat

contains

  !> Value j of the packed input row of field i, j from 0; the last dimension of a variable is
  !! fastest.
  elemental function packed(i, j) result(value)
    integer, intent(in) :: i, j
    real(real64) :: value

    value = real(n_input * i + j, real64)
  end function packed

  !> The part of the packed row that a variable has; context is its first place, from 0.
  subroutine made(context, name, first_sample, values, status)
    class(*), intent(in) :: context
    character(len=*), intent(in) :: name
    integer, intent(in) :: first_sample
    real(real64), intent(out) :: values(:, :)
    type(climlink_status), intent(inout) :: status
    integer :: i, k

    values = 0.0_real64
    select type (context)
    type is (integer)
      if (len(name) == 0 .or. .not. status%ok()) return
      do i = 1, size(values, 1)
        values(i, :) = [(packed(first_sample + i - 1, context + k), k=0, size(values, 2) - 1)]
      end do
    end select
  end subroutine made

end module test_field_rows

!> Variables of any dims go in and come out by index [sample, dims...], whatever their order in
!! memory: field.pt of memory_fixtures.py multiplies the values of its packed row, so one that is
!! out of place is seen.
program test_fields
  use, intrinsic :: iso_fortran_env, only: real32, real64
  use climlink, only: climlink_emulator, climlink_error_host, climlink_error_shape, &
                      climlink_error_state, climlink_error_variable, climlink_host_fields, &
                      climlink_status
  use test_field_rows, only: made, n_depth, n_field, n_input, n_lat, n_lon, packed
  use test_support, only: check, check_error, finish, fixture, same_bits
  implicit none (type, external)

  type(climlink_emulator) :: emulator
  type(climlink_status) :: status
  real(real64) :: soil(n_field, n_depth, n_lat, n_lon), season(n_field), &
    sst(n_field, n_lat, n_lon), zonal(n_field, n_lat)
  integer :: i, d, a, o

  do i = 1, n_field
    season(i) = packed(i, 24)
    do a = 1, n_lat
      zonal(i, a) = packed(i, 37 + a - 1)
      do o = 1, n_lon
        sst(i, a, o) = packed(i, 25 + n_lon * (a - 1) + o - 1)
        do d = 1, n_depth
          soil(i, d, a, o) = packed(i, n_lon * (n_lat * (d - 1) + a - 1) + o - 1)
        end do
      end do
    end do
  end do
  call emulator%open(fixture('field.pt'), status, n_level=60, time_step=1200.0_real64)
  call check(status%ok(), 'a package without levels does not care for the host''s: ' // &
             status%message)
  call check(emulator%level_count() == 0, 'no levels')
  call whole_arrays()
  call strided_sections()
  call tables_of_other_axis_orders()
  call provided_fields()
  call refusals()
  call coordinates()
  call finish()

contains

  !> Value k of the packed output row of field i, k from 0.
  elemental function answer(i, k) result(value)
    integer, intent(in) :: i, k
    real(real64) :: value

    value = packed(i, modulo(7 * k, n_input)) * real(k + 1, real64) / 64.0_real64
  end function answer

  subroutine run_and_check(what)
    character(len=*), intent(in) :: what
    real(real64) :: moisture(n_field, n_lon, n_depth, n_lat), total(n_field)
    real(real32) :: rain(2, n_field, n_lon, n_lat), mean(n_lon, n_field)
    integer :: k

    call emulator%run(status)
    call check(status%ok(), what // ': run: ' // status%message)
    call emulator%get('moisture', moisture, 1, status)
    call check(status%ok(), what // ': moisture: ' // status%message)
    call emulator%get('total', total, 1, status, units='1')
    rain = -1.0_real32
    call emulator%get('rain', rain(2, :, :, n_lat:1:-1), 1, status)
    call check(status%ok() .and. all(rain(1, :, :, :) < 0.0_real32), what // ': rain: ' // &
               status%message)
    call emulator%get('mean', mean, 1, status)
    call check_error(status, climlink_error_shape, 'mean')
    do i = 1, n_field
      call check(same_bits(total(i), answer(i, 36)), what // ': total')
      do o = 1, n_lon
        do a = 1, n_lat
          k = 24 + n_lat * (o - 1) + a - 1
          call check(same_bits(real(rain(2, i, o, n_lat + 1 - a), real64), answer(i, k)), what // &
                     ': rain')
          do d = 1, n_depth
            k = n_lat * (n_depth * (o - 1) + d - 1) + a - 1
            call check(same_bits(moisture(i, o, d, a), answer(i, k)), what // ': moisture')
          end do
        end do
      end do
    end do
  end subroutine run_and_check

  subroutine whole_arrays()
    call emulator%begin(n_field, status)
    call emulator%set('soil', soil, 1, status, units='1')
    call emulator%set('season', season, 1, status)
    call emulator%set('sst', real(sst, real32), 1, status)
    call emulator%set('zonal', zonal, 1, status)
    call check(status%ok(), 'whole arrays: ' // status%message)
    call run_and_check('whole arrays')
  end subroutine whole_arrays

  !> Sections of larger arrays, and a host that counts latitudes and depths from the other end.
  subroutine strided_sections()
    real(real64) :: wide(n_field, n_depth, 2 * n_lat, n_lon), &
      upside_down(n_field, n_depth, n_lat, n_lon)
    real(real32) :: fields(2, n_field, n_lat, n_lon)

    wide = huge(wide)
    wide(:, :, 2::2, :) = soil
    upside_down = wide(:, n_depth:1:-1, 2 * n_lat:2:-2, :)
    fields = huge(fields)
    fields(2, :, :, :) = real(sst, real32)
    call emulator%begin(n_field, status)
    call emulator%set('soil', upside_down(:, n_depth:1:-1, n_lat:1:-1, :), 1, status)
    call emulator%set('season', reshape(season, [n_field, 1]), 1, status)
    call emulator%set('sst', fields(2, :, :, :), 1, status)
    call emulator%set('zonal', zonal(n_field:n_field, :), n_field, status)
    call emulator%set('zonal', zonal(:n_field - 1, :), 1, status)
    call check(status%ok(), 'sections: ' // status%message)
    call run_and_check('sections')
  end subroutine strided_sections

  !> A table of arrays in an order of no package, rank 4 among them.
  subroutine tables_of_other_axis_orders()
    type(climlink_host_fields) :: fields
    real(real64), target :: soil_there(n_lon, n_field, n_lat, n_depth), zonal_there(n_lat, n_field)
    real(real64), target :: sst_there(n_lon, n_lat, n_field), season_there(n_field)
    real(real64), target :: moisture(n_depth, n_lat, n_lon, n_field), mean(n_lon, n_field)
    real(real32), target :: rain(n_lat, n_field, n_lon)

    soil_there = reshape(soil, shape(soil_there), order=[2, 4, 3, 1])
    sst_there = reshape(sst, shape(sst_there), order=[3, 2, 1])
    zonal_there = transpose(zonal)
    season_there = season
    call fields%begin(n_field)
    call fields%add_field('soil', '1', 'lon sample lat depth', soil_there)
    call fields%add_scalar('season', '1', season_there)
    call fields%add_field('sst', 'K', 'lon lat sample', sst_there)
    call fields%add_field('zonal', 'K', 'lat sample', zonal_there)
    call fields%add_field('moisture', '1', 'depth lat lon sample', moisture, taken=.true.)
    call fields%add_field('rain', 'm/s', 'lat sample lon', rain, taken=.true.)
    call fields%add_field('mean', '1', 'lon sample', mean, taken=.true.)
    call fields%check(emulator, status)
    call check(status%ok(), 'table: check: ' // status%message)
    call emulator%begin(n_field, status)
    call fields%send(emulator, status)
    call check(status%ok(), 'table: send: ' // status%message)
    call run_and_check('table')
    call fields%receive(emulator, status)
    call check(status%ok(), 'table: receive: ' // status%message)
    do i = 1, n_field
      do o = 1, n_lon
        call check(same_bits(mean(o, i), answer(i, 36 + o)), 'table: mean')
        do a = 1, n_lat
          call check(same_bits(real(rain(a, i, o), real64), &
                               answer(i, 24 + n_lat * (o - 1) + a - 1)), 'table: rain')
          do d = 1, n_depth
            call check(same_bits(moisture(d, a, o, i), &
                                 answer(i, n_lat * (n_depth * (o - 1) + d - 1) + a - 1)), &
                       'table: moisture')
          end do
        end do
      end do
    end do
    call fields%begin(n_field)
    call fields%add_field('soil', '1', 'lon sample lat', soil_there(:, :, :, 1))
    call emulator%begin(n_field, status)
    call fields%send(emulator, status)
    call check_error(status, climlink_error_shape, 'soil')
  end subroutine tables_of_other_axis_orders

  !> Rows [sample, value] from a provider, the last dim fastest, in two chunks.
  subroutine provided_fields()
    type(climlink_host_fields) :: fields
    integer, target :: first(4)

    first = [0, 24, 25, 37]
    call emulator%begin(n_field, status)
    do i = 1, n_field, 2
      call fields%begin(min(2, n_field - i + 1))
      call fields%add_provider('soil', '1', made, 'sample depth lat lon', first(1))
      call fields%add_provider('season', '1', made, 'sample', first(2))
      call fields%add_provider('sst', 'K', made, 'sample lat lon', first(3))
      call fields%add_provider('zonal', 'K', made, 'sample lat', first(4))
      call fields%send(emulator, status, first_sample=i)
      call check(status%ok(), 'provided fields: send: ' // status%message)
    end do
    call run_and_check('provided fields')
  end subroutine provided_fields

  !> Transposed, flattened, of another rank, or too large: nothing is guessed.
  subroutine refusals()
    real(real64) :: cube(n_field, n_depth, n_lat, n_lon, 1), turned(n_field, n_lon, n_lat)

    cube = 1.0_real64
    do i = 1, n_field
      turned(i, :, :) = transpose(sst(i, :, :))
    end do
    call emulator%begin(n_field, status)
    call emulator%set('sst', turned, 1, status)
    call check_error(status, climlink_error_shape, 'sst')
    call emulator%set('sst', reshape(sst, [n_field, n_lat * n_lon]), 1, status)
    call check_error(status, climlink_error_shape, 'sst')
    call emulator%set('soil', cube, 1, status)
    call check_error(status, climlink_error_shape, 'rank 5')
    call emulator%set('soil', cube(:, :, :, :n_lon - 1, 1), 1, status)
    call check_error(status, climlink_error_shape, 'soil')
    call emulator%set('sst', sst, 2, status)
    call check_error(status, climlink_error_shape, 'sst')
    call emulator%require_columns(status)
    call check_error(status, climlink_error_host, &
                     'rank 0: this host has columns, [level] or one number each; ' // &
                     'the package has the input soil [depth, lat, lon]')
  end subroutine refusals

  subroutine coordinates()
    call emulator%require_coordinate('lat', [-60.0_real64, 0.0_real64, 60.0_real64], status)
    call check(status%ok(), 'the package''s latitudes: ' // status%message)
    call emulator%require_coordinate('lat', [60.0_real64, 0.0_real64, -60.0_real64], status)
    call check_error(status, climlink_error_host, 'rank 0: require_coordinate: ')
    call check_error(status, climlink_error_host, '-60')
    call emulator%require_coordinate('lat', [-60.0_real64, 0.0_real64], status)
    call check_error(status, climlink_error_host, 'lat')
    call emulator%require_coordinate('lon', [0.0_real64], status)
    call check(status%ok(), 'the package has no longitudes to compare with')
    call emulator%require_coordinate('lom', [0.0_real64], status)
    call check_error(status, climlink_error_variable, 'lon')
    call emulator%close(status)
    call emulator%require_coordinate('lat', [0.0_real64], status)
    call check_error(status, climlink_error_state, &
                     'require_coordinate lat: the emulator is not open')
  end subroutine coordinates

end program test_fields
