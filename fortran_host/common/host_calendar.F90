!> Time in the no-leap calendar, the models' and ClimSim's: every year has 365 days, and the first
!! day is 0001-01-01. Integer arithmetic only, so that times are exact for runs of any length.
module host_calendar
  use, intrinsic :: iso_fortran_env, only: int64, r8 => real64
  implicit none (type, external)
  private

  public :: model_time, time_after, civil_date, ymd, calendar_day, &
            days_since_start, stamp, parse_stamp
  public :: time_of, seconds_between, starts

  integer, parameter :: day_seconds = 86400
  integer, parameter :: year_days = 365
  integer, parameter :: month_days(12) = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]

  type :: model_time
    integer :: day_number = 0    !! Days since 0001-01-01.
    integer :: second = 0        !! Of the day, 0 to 86399.
  end type model_time

contains

  !> The time some steps after start (before it if step is negative); dt is a whole number of
  !! seconds.
  elemental function time_after(start, step, dt) result(time)
    type(model_time), intent(in) :: start
    integer, intent(in) :: step
    real(r8), intent(in) :: dt           !! [s]
    type(model_time) :: time
    integer(int64), parameter :: day = day_seconds
    integer(int64) :: seconds

    seconds = int(start%second, int64) + int(step, int64) * nint(dt, int64)
    time%second = int(modulo(seconds, day))
    time%day_number = start%day_number + int((seconds - modulo(seconds, day)) / day)
  end function time_after

  !> Year, month and day of the month.
  pure subroutine civil_date(time, year, month, day)
    type(model_time), intent(in) :: time
    integer, intent(out) :: year, month, day

    year = time%day_number / year_days + 1
    day = modulo(time%day_number, year_days) + 1
    do month = 1, 11
      if (day <= month_days(month)) exit
      day = day - month_days(month)
    end do
  end subroutine civil_date

  !> The date as an integer, 10131 for 0001-01-31.
  elemental function ymd(time) result(date)
    type(model_time), intent(in) :: time
    integer :: date
    integer :: year, month, day

    call civil_date(time, year, month, day)
    date = year * 10000 + month * 100 + day
  end function ymd

  !> Day of the year: 1.0 is January 1, 0 UTC.
  elemental function calendar_day(time) result(day)
    type(model_time), intent(in) :: time
    real(r8) :: day

    day = real(modulo(time%day_number, year_days) + 1, r8) &
      + real(time%second, r8) / real(day_seconds, r8)
  end function calendar_day

  !> Days since 0001-01-01-00000, the time coordinate of history files.
  elemental function days_since_start(time) result(days)
    type(model_time), intent(in) :: time
    real(r8) :: days

    days = real(time%day_number, r8) + real(time%second, r8) / real(day_seconds, r8)
  end function days_since_start

  !> YYYY-MM-DD-SSSSS, as in file names.
  pure function stamp(time) result(text)
    type(model_time), intent(in) :: time
    character(len=16) :: text
    integer :: year, month, day

    call civil_date(time, year, month, day)
    write (text, '(i4.4,"-",i2.2,"-",i2.2,"-",i5.5)') year, month, day, time%second
  end function stamp

  !> Reads YYYY-MM-DD-SSSSS; error is '' or says what is wrong with it.
  pure subroutine parse_stamp(text, time, error)
    character(len=*), intent(in) :: text
    type(model_time), intent(out) :: time
    character(len=:), allocatable, intent(out) :: error
    character(len=*), parameter :: digits = '0123456789'
    integer, parameter :: dashes(3) = [5, 8, 11]
    integer :: year, month, day, i

    error = "'" // text &
      // "' is not a time stamp: expected YYYY-MM-DD-SSSSS, such as 0001-01-01-00000"
    if (len(text) /= 16) return
    do i = 1, len(text)
      if (any(i == dashes)) then
        if (text(i:i) /= '-') return
      else
        if (index(digits, text(i:i)) == 0) return
      end if
    end do
    read (text, '(i4,1x,i2,1x,i2,1x,i5)') year, month, day, time%second
    call set_date(year, month, day, time, error)
    if (len(error) > 0) error = "'" // text // "'" // error
  end subroutine parse_stamp

  !> The time that the files give as ymd, such as 10131, and tod, the second of the day; error is ''
  !! or says what is wrong with them.
  pure subroutine time_of(date, second, time, error)
    integer, intent(in) :: date, second
    type(model_time), intent(out) :: time
    character(len=:), allocatable, intent(out) :: error
    character(len=48) :: text

    time%second = second
    call set_date(date / 10000, modulo(date / 100, 100), modulo(date, 100), time, error)
    write (text, '(2(a,i0))') 'ymd ', date, ' with tod ', second
    if (len(error) > 0) error = trim(text) // error
  end subroutine time_of

  !> Sets the day; error is '' or continues a sentence that begins with the date.
  pure subroutine set_date(year, month, day, time, error)
    integer, intent(in) :: year, month, day
    type(model_time), intent(inout) :: time                !! Its second is set.
    character(len=:), allocatable, intent(out) :: error

    error = &
      ' is not a time of the no-leap calendar: it begins with 0001-01-01, and February has 28 days'
    if (year < 1 .or. month < 1 .or. month > 12 .or. day < 1) return
    if (day > month_days(month) .or. time%second < 0 .or. time%second >= day_seconds) return
    time%day_number = (year - 1) * year_days + sum(month_days(:month - 1)) + day - 1
    error = ''
  end subroutine set_date

  !> Seconds from one time to another, negative if the other is earlier.
  elemental function seconds_between(earlier, later) result(seconds)
    type(model_time), intent(in) :: earlier, later
    integer(int64) :: seconds

    seconds = (int(later%day_number, int64) - earlier%day_number) * day_seconds + &
      later%second - earlier%second
  end function seconds_between

  !> Whether a period, hour, day or month, begins at this time.
  elemental function starts(time, period) result(yes)
    type(model_time), intent(in) :: time
    character(len=*), intent(in) :: period
    logical :: yes

    select case (period)
    case ('hour')
      yes = modulo(time%second, 3600) == 0
    case ('day')
      yes = time%second == 0
    case default
      yes = time%second == 0 .and. modulo(ymd(time), 100) == 1
    end select
  end function starts

end module host_calendar
