!> The calendar against known dates, and a small "model" of known values that writes all kinds of
!! output; check_aqua_output.py says what the files must hold.
!!
!!     test_aqua_output calendar
!!     test_aqua_output pairs FOLDER                 two steps as ClimSim pairs
!!     test_aqua_output history FOLDER FROM TO [wait]   steps FROM + 1 to TO; restarts are
!!                                                      FOLDER/restart.STEP.nc
!!     test_aqua_output restart PATH TRUNCATION LEVELS CONFIGURATION   opens a restart
program test_aqua_output
  use, intrinsic :: iso_fortran_env, only: error_unit, input_unit, output_unit
  use host_calendar, only: calendar_day, days_since_start, model_time, parse_stamp, stamp, &
                           starts, time_after, ymd
  use aqua_climsim_output, only: write_climsim_pair, write_grid_file
  use aqua_column_table, only: input_columns, output_columns
  use aqua_constants, only: r8
  use aqua_grid, only: gaussian_grid, make_grid
  use aqua_history, only: history_field, history_stream
  use aqua_levels, only: hybrid_levels, make_levels, midpoint_pressure
  use aqua_restart, only: restart_file, restart_identity
  use netcdf_files, only: close_file, complete
  use numbered_columns, only: number_inputs, number_outputs
  implicit none (type, external)

  real(r8), parameter :: dt = 1200.0_r8
  character(len=*), parameter :: start_text = '0001-01-30-43200'
  character(len=:), allocatable :: failure
  type(gaussian_grid) :: grid
  type(hybrid_levels) :: levels

  failure = ''
  call make_grid(10, grid, failure)
  call require_none(failure)
  call make_levels([0.01_r8, 0.05_r8, 0.1_r8, 0.05_r8, 0.0_r8], &
                   [0.0_r8, 0.0_r8, 0.2_r8, 0.7_r8, 1.0_r8], 1.0e5_r8, levels, failure)
  call require_none(failure)
  select case (argument(1))
  case ('calendar')
    call check_calendar()
  case ('pairs')
    call write_pairs(argument(2))
  case ('history')
    call run(argument(2), whole_number(argument(3)), whole_number(argument(4)))
  case ('restart')
    call open_restart(argument(2), whole_number(argument(3)), whole_number(argument(4)), &
                      argument(5))
  case default
    call require_none('unknown part ' // argument(1))
  end select

contains

  function argument(position) result(text)
    integer, intent(in) :: position
    character(len=:), allocatable :: text
    integer :: length

    call get_command_argument(position, length=length)
    allocate (character(len=length) :: text)
    call get_command_argument(position, text)
  end function argument

  function whole_number(text) result(number)
    character(len=*), intent(in) :: text
    integer :: number

    read (text, *) number
  end function whole_number

  subroutine require_none(error)
    character(len=*), intent(in) :: error

    if (len(error) == 0) return
    write (error_unit, '(2a)') 'test_aqua_output: ', error
    stop 1, quiet=.true.
  end subroutine require_none

  subroutine require_true(condition, what)
    logical, intent(in) :: condition
    character(len=*), intent(in) :: what

    if (.not. condition) call require_none('wrong: ' // what)
  end subroutine require_true

  subroutine check_calendar()
    type(model_time) :: time, start
    integer :: day, month_starts

    start = model_time(0, 0)
    call require_true(ymd(start) == 10101 .and. stamp(start) == '0001-01-01-00000', 'first day')
    call require_true(ymd(time_after(start, 59 * 72, dt)) == 10301, 'day 59 is March 1')
    call require_true(stamp(time_after(start, 365 * 72, dt)) == '0002-01-01-00000', &
                      'a year has 365 days')
    call require_true(stamp(time_after(start, 365 * 72 - 1, dt)) == '0001-12-31-85200', &
                      'last step of a year')
    call require_true(same(time_after(start, 2000000000, dt), model_time(27777777, 67200)), &
                      'times far beyond 32 bits of seconds')
    call require_true(same(time_after(model_time(1, 0), -1, dt), model_time(0, 85200)), &
                      'a step back')
    call require_true(abs(calendar_day(start) - 1.0_r8) <= 0.0_r8, 'January 1, 0 UTC is day 1.0')
    call require_true(abs(calendar_day(model_time(365 + 31, 43200)) - 32.5_r8) <= 0.0_r8, &
                      'February 1, noon is day 32.5')
    call require_true(abs(days_since_start(model_time(365, 21600)) - 365.25_r8) <= 0.0_r8, &
                      'days since the start')
    call require_true(starts(model_time(31, 0), 'month') &
                      .and. .not. starts(model_time(31, 1200), 'month'), 'months')
    call require_true(starts(model_time(3, 0), 'day') &
                      .and. .not. starts(model_time(3, 3600), 'day'), &
                      'days')
    call require_true(starts(model_time(3, 3600), 'hour') &
                      .and. .not. starts(model_time(3, 1200), 'hour'), 'hours')
    month_starts = 0
    do day = 0, 3 * 365 - 1
      time = model_time(day, modulo(day * 1200, 86400))
      call check_round_trip(time)
      if (starts(model_time(day, 0), 'month')) month_starts = month_starts + 1
    end do
    call require_true(month_starts == 36, 'a year has twelve months')
    call check_bad_stamps()
  end subroutine check_calendar

  pure function same(a, b)
    type(model_time), intent(in) :: a, b
    logical :: same

    same = a%day_number == b%day_number .and. a%second == b%second
  end function same

  subroutine check_round_trip(time)
    type(model_time), intent(in) :: time
    type(model_time) :: again
    character(len=:), allocatable :: error

    call parse_stamp(stamp(time), again, error)
    call require_none(error)
    call require_true(same(again, time), 'stamp ' // stamp(time))
  end subroutine check_round_trip

  subroutine check_bad_stamps()
    character(len=*), parameter :: bad(8) = [character(len=17) :: '0001-02-29-00000', &
      '0001-13-01-00000', '0000-01-01-00000', '0001-01-01-86400', '0001-01-01', &
      '0001-01-01T00000', '0001-01-0x-00000', '0001-01-01-000000']
    type(model_time) :: time
    character(len=:), allocatable :: error
    integer :: i

    do i = 1, size(bad)
      call parse_stamp(trim(bad(i)), time, error)
      call require_true(len(error) > 0, bad(i) // ' passed as a stamp')
    end do
  end subroutine check_bad_stamps

  !> Two consecutive pairs and the grid file.
  subroutine write_pairs(folder)
    character(len=*), intent(in) :: folder
    type(input_columns) :: before
    type(output_columns) :: made
    type(model_time) :: time
    character(len=:), allocatable :: error
    integer :: step, column

    call parse_stamp(start_text, time, error)
    call require_none(error)
    call before%make(levels%n_level, grid%n_column)
    call made%make(levels%n_level, grid%n_column)
    call write_grid_file(folder // '/aqua_grid-info.nc', grid, levels, error)
    call require_none(error)
    do step = 1, 2
      call number_inputs(before, step)
      do column = 1, grid%n_column
        before%ps(column) = 1.0e5_r8 - real(column, r8)
        before%p_mid(:, column) = midpoint_pressure(levels, before%ps(column))
      end do
      call number_outputs(made, step)
      ! Takes all of the ice of the lowest level.
      made%dqidt(levels%n_level, :) = -before%qi(levels%n_level, :) / dt
      call write_climsim_pair(folder, time_after(time, step - 1, dt), before, made, dt, error)
      call require_none(error)
    end do
  end subroutine write_pairs

  !> Runs the steps first + 1 to last with four streams of history, from a restart if there were
  !! earlier ones; ends with a restart.
  subroutine run(folder, first, last)
    character(len=*), intent(in) :: folder
    integer, intent(in) :: first
    integer, intent(in) :: last
    type(history_stream) :: streams(4)
    type(model_time) :: start
    character(len=:), allocatable :: error
    integer :: step, i

    call parse_stamp(start_text, start, error)
    call require_none(error)
    call open_streams(folder, streams)
    if (first > 0) call resume(folder, first, streams)
    do step = first + 1, last
      do i = 1, size(streams)
        call do_step(streams(i), i /= 4, step, time_after(start, step, dt))
      end do
    end do
    if (command_argument_count() > 4) call wait()
    do i = 1, size(streams)
      call streams(i)%close(error)
      call require_none(error)
    end do
    call write_restart(folder, last, streams)
  end subroutine run

  subroutine open_streams(folder, streams)
    character(len=*), intent(in) :: folder
    type(history_stream), intent(inout) :: streams(4)
    type(history_field), parameter :: fields(3) = [ &
                                                  history_field('T', 'Temperature', 'K', .true.), &
                                                  history_field('PS', 'Surface pressure', 'Pa', &
                                                                .false.), &
                                                  history_field('U', 'Zonal wind', 'm/s', .true.)]
    character(len=:), allocatable :: error

    call streams(1)%initialize('h0', folder, 'trial', fields, grid, levels, error)
    call require_none(error)
    call streams(2)%initialize('h1', folder, 'trial', fields, grid, levels, error, &
                               samples_per_file=2)
    call require_none(error)
    call streams(3)%initialize('h2', folder, 'trial', fields, grid, levels, error)
    call require_none(error)
    call streams(4)%initialize('h2', folder, 'trial_values', fields(:2), grid, levels, error, &
                               instantaneous=.true.)
    call require_none(error)
  end subroutine open_streams

  subroutine do_step(stream, has_third, step, time)
    type(history_stream), intent(inout) :: stream
    logical, intent(in) :: has_third
    integer, intent(in) :: step
    type(model_time), intent(in) :: time
    character(len=:), allocatable :: error
    real(r8) :: profile(levels%n_level, grid%n_column), scalar(1, grid%n_column)
    integer :: column, k

    if (stream%needs_values(time)) then
      do column = 1, grid%n_column
        profile(:, column) = [(real(modulo(7 * step + 3 * column + 11 * k, 101), r8), k = 1, &
                               levels%n_level)]
        scalar(1, column) = real(modulo(5 * step + column, 97), r8) / 7.0_r8
      end do
      call stream%accumulate(1, profile)
      call stream%accumulate(2, scalar)
      if (has_third) call stream%accumulate(3, -profile)
    end if
    call stream%end_step(time, dt, error)
    call require_none(error)
  end subroutine do_step

  subroutine wait()
    character(len=1) :: answer

    write (output_unit, '(a)') 'waiting'
    flush (output_unit)
    read (input_unit, '(a)') answer
  end subroutine wait

  function restart_name(folder, step) result(path)
    character(len=*), intent(in) :: folder
    integer, intent(in) :: step
    character(len=:), allocatable :: path
    character(len=12) :: number

    write (number, '(i0)') step
    path = folder // '/restart.' // trim(number) // '.nc'
  end function restart_name

  subroutine write_restart(folder, step, streams)
    character(len=*), intent(in) :: folder
    integer, intent(in) :: step
    type(history_stream), intent(in) :: streams(:)
    type(restart_file) :: file
    character(len=:), allocatable :: error
    integer :: i

    call file%create(restart_name(folder, step), restart_identity('trial', 10, 4), error)
    call require_none(error)
    call file%put('step', step, error)
    call file%put('note', 'a text', error)
    call file%put('third', 1.0_r8 / 3.0_r8, error)
    call file%put('empty', [real(r8) ::], error)
    call file%put('cube', reshape([(sqrt(real(i, r8)), i = 1, 24)], [2, 3, 4]), error)
    call file%put('square', reshape([(-sqrt(real(i, r8)), i = 1, 6)], [2, 3]), error)
    do i = 1, size(streams)
      call file%put('history_' // achar(iachar('0') + i), streams(i)%packed_state(), error)
    end do
    call complete(file, error)
    call require_none(error)
  end subroutine write_restart

  subroutine resume(folder, step, streams)
    character(len=*), intent(in) :: folder
    integer, intent(in) :: step
    type(history_stream), intent(inout) :: streams(:)
    type(restart_file) :: file
    character(len=:), allocatable :: error
    real(r8), allocatable :: state(:)
    integer :: i

    call file%open(restart_name(folder, step), restart_identity('trial', 10, 4), error)
    call require_none(error)
    do i = 1, size(streams)
      state = streams(i)%packed_state()
      call file%get('history_' // achar(iachar('0') + i), state, error)
      call require_none(error)
      call streams(i)%unpack_state(state, error)
      call require_none(error)
    end do
    call check_contents(file, step)
    call close_file(file)
  end subroutine resume

  !> Every kind of entry comes back as it was put, and what is not there, or has another shape, is
  !! said.
  subroutine check_contents(file, step)
    type(restart_file), intent(inout) :: file
    integer, intent(in) :: step
    character(len=:), allocatable :: error, note
    real(r8) :: cube(2, 3, 4), square(2, 3), third, empty(0), wrong(3, 2)
    integer :: i, found

    error = ''
    call file%get('step', found, error)
    call file%get('note', note, error)
    call file%get('third', third, error)
    call file%get('cube', cube, error)
    call file%get('square', square, error)
    call file%get('empty', empty, error)
    call require_none(error)
    call require_true(found == step .and. note == 'a text' .and. abs(third - 1.0_r8 / 3.0_r8) &
                      <= 0.0_r8, 'small entries')
    call require_true(all(abs(cube - reshape([(sqrt(real(i, r8)), i = 1, 24)], [2, 3, 4])) &
                          <= 0.0_r8), 'an array of rank 3')
    call require_true(all(abs(square - reshape([(-sqrt(real(i, r8)), i = 1, 6)], [2, 3])) &
                          <= 0.0_r8), 'an array of rank 2')
    call require_true(file%length('history_2') > 9 .and. file%length('none') == 0, 'lengths')
    call file%get('square', wrong, error)
    call require_true(index(error, 'square: the array has another shape') > 0, &
                      'an array of another shape: ' // error)
    error = ''
    call file%get('none', third, error)
    call require_true(index(error, 'none: ') > 0, 'an array that is not there: ' // error)
  end subroutine check_contents

  subroutine open_restart(path, truncation, n_level, configuration)
    character(len=*), intent(in) :: path
    integer, intent(in) :: truncation
    integer, intent(in) :: n_level
    character(len=*), intent(in) :: configuration
    type(restart_file) :: file
    character(len=:), allocatable :: error

    call file%open(path, restart_identity(configuration, truncation, n_level), error)
    call require_none(error)
    call close_file(file)
  end subroutine open_restart

end program test_aqua_output
