!> Levels of a host as a user writes them behind a name: ptend_t(20:60), ptend_t(1:5,20),
!! ptend_t(10 hPa:), ptend_t(:700 hPa).
!!
!! A list has parts with commas between them: a level, counted from 1 at the top, or two bounds with
!! a colon, each of which is a level, a pressure with its unit, or nothing for the first or last
!! level. Bounds count as inside. A pressure is held against the reference pressures of the levels.
module climlink_level_lists
  use, intrinsic :: iso_fortran_env, only: real64
  implicit none (type, external)
  private

  public :: listed_name, has_level_list, find_levels

  real(real64), parameter :: pa_per_hpa = 100.0_real64
  integer, parameter :: most_digits = 9               !! Of a level: fits an integer.

contains

  !> The name of an entry, without its list of levels.
  elemental function listed_name(entry) result(name)
    character(len=*), intent(in) :: entry
    character(len=len(entry)) :: name

    name = adjustl(entry(:index(entry // '(', '(') - 1))
  end function listed_name

  elemental function has_level_list(entry) result(yes)
    character(len=*), intent(in) :: entry
    logical :: yes

    yes = scan(entry, '()') > 0
  end function has_level_list

  !> Which levels the list of an entry means; all where it has none. problem is '' or says what is
  !! wrong with which part.
  pure subroutine find_levels(entry, pressure, chosen, problem)
    character(len=*), intent(in) :: entry
    real(real64), intent(in) :: pressure(:)            !! Of the levels, increasing downward [Pa].
    logical, intent(out) :: chosen(:)                  !! [level]
    character(len=:), allocatable, intent(out) :: problem
    character(len=:), allocatable :: list
    integer :: first, length

    problem = ''
    chosen = .not. has_level_list(entry)
    if (.not. has_level_list(entry)) return
    first = index(entry, '(') + 1
    list = trim(entry(first:))
    if (first == 1 .or. index(list, ')') /= len(list) .or. index(list, '(') > 0) then
      problem = 'a list of levels stands behind a name, in one pair of parentheses'
      return
    end if
    first = 1
    do while (first <= len(list) .and. len(problem) == 0)
      length = scan(list(first:), ',)') - 1
      call choose_part(trim(adjustl(list(first:first + length - 1))), pressure, chosen, problem)
      first = first + length + 1
    end do
  end subroutine find_levels

  !> Adds the levels of one part of a list.
  pure subroutine choose_part(part, pressure, chosen, problem)
    character(len=*), intent(in) :: part
    real(real64), intent(in) :: pressure(:)
    logical, intent(inout) :: chosen(:)
    character(len=:), allocatable, intent(out) :: problem
    integer :: colon, first, last

    first = 1
    last = size(pressure)
    colon = index(part, ':')
    problem = ''
    if (colon == 0 .and. (len(part) == 0 .or. verify(part, '0123456789') > 0)) then
      problem = "'" // part // "' is no level; two bounds have a colon between them"
    else if (colon == 0) then
      call find_bound(part, pressure, first, last, problem)
      last = first
    else
      call find_bound(part(:colon - 1), pressure, first, problem=problem)
      if (len(problem) == 0) call find_bound(part(colon + 1:), pressure, last=last, problem=problem)
    end if
    if (len(problem) == 0 .and. first > last) problem = "no level lies in '" // part // "'"
    if (len(problem) == 0) chosen(first:last) = .true.
  end subroutine choose_part

  !> Finds the first level at or below an upper bound, or the last one at or above a lower bound.
  pure subroutine find_bound(bound, pressure, first, last, problem)
    character(len=*), intent(in) :: bound
    real(real64), intent(in) :: pressure(:)
    integer, intent(inout), optional :: first, last
    character(len=:), allocatable, intent(out) :: problem
    character(len=:), allocatable :: text
    real(real64) :: limit
    integer :: level

    problem = ''
    text = trim(adjustl(bound))
    if (verify(text, '0123456789') == 0) then
      if (len(text) == 0) return
      call read_level(text, size(pressure), level, problem)
      if (present(first)) first = level
      if (present(last)) last = level
    else
      call read_pressure(text, limit, problem)
      if (present(first)) first = count(pressure < limit) + 1
      if (present(last)) last = count(pressure <= limit)
    end if
  end subroutine find_bound

  pure subroutine read_level(text, n_level, level, problem)
    character(len=*), intent(in) :: text               !! Digits alone, one or more.
    integer, intent(in) :: n_level
    integer, intent(out) :: level
    character(len=:), allocatable, intent(out) :: problem

    problem = ''
    level = 0
    if (len(text) <= most_digits) read (text, *) level
    if (level < 1 .or. level > n_level) problem = 'there is no level ' // text
  end subroutine read_level

  !> A pressure [Pa] from a number and its unit.
  pure subroutine read_pressure(text, pressure, problem)
    character(len=*), intent(in) :: text
    real(real64), intent(out) :: pressure              !! [Pa]
    character(len=:), allocatable, intent(out) :: problem
    integer :: length, failed

    problem = ''
    pressure = 0.0_real64
    length = verify(text, '0123456789.eE') - 1
    failed = length
    if (length > 0) read (text(:length), *, iostat=failed) pressure
    select case (adjustl(text(max(length, 0) + 1:)))
    case ('Pa')
    case ('hPa')
      pressure = pa_per_hpa * pressure
    case default
      length = 0
    end select
    if (length < 1 .or. failed /= 0 .or. .not. pressure > 0.0_real64) then
      problem = "'" // text // "' is neither a level nor a pressure in Pa or hPa"
    end if
  end subroutine read_pressure

end module climlink_level_lists
