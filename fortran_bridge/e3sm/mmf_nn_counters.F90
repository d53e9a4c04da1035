!> How often the emulator answered and what the old post-processing did to its answers: counted on
!! each rank, summed over all ranks at an interval, and written by the master as one line of the
!! log.
module mmf_nn_counters
  use cam_logfile, only: iulog
  use mmf_nn_errors, only: sum_on_master
  use mmf_nn_legacy, only: legacy_counts
  use mmf_nn_range_use, only: range_use
  use mmf_nn_settings, only: climlink_legacy, climlink_log_steps, climlink_water_fixer, number_text
  use mmf_nn_water_fixer, only: water_fix
  use phys_grid, only: get_area_all_p
  use shr_kind_mod, only: r8 => shr_kind_r8
  use spmd_utils, only: masterproc
  use time_manager, only: get_nstep, get_step_size
  implicit none (type, external)
  private

  public :: count_answers, count_legacy, count_range_use, count_water_fix, end_counted_step

  integer, parameter :: day = 86400                          !! [s]

  !> Positions in sums: columns answered for, fields clipped, fields limited, and what the limiter
  !! added times area, and area.
  integer, parameter :: columns = 1, clipped = 2, limited = 3, heat = 4, water = 5, area = 6

  !> And the range policy's heating, share of the mass and clipped values times area, and area.
  integer, parameter :: held_by = 7, held_mass = 8, held_values = 9, held_area = 10

  real(r8) :: sums(10) = 0.0_r8                              !! Of this rank, since the last line.
  integer :: n_step = 0
  integer :: n_answered = 0                                  !! Steps in which the emulator ran.

  !> Of the fixer since the last line, the same on all ranks: sums over n_fixed steps, and range.
  integer :: n_fixed = 0
  real(r8) :: made = 0.0_r8, added = 0.0_r8                  !! [kg/m2/s]
  real(r8) :: lowest = huge(1.0_r8), highest = 0.0_r8        !! Of the factor.

contains

  !> Counts one chunk of answers.
  subroutine count_answers(n_column)
    integer, intent(in) :: n_column

    sums(columns) = sums(columns) + real(n_column, r8)
  end subroutine count_answers

  !> Counts what the old post-processing did to one chunk.
  subroutine count_legacy(counts, lchnk)
    type(legacy_counts), intent(in) :: counts
    integer, intent(in) :: lchnk
    real(r8) :: areas(size(counts%clipped))

    call get_area_all_p(lchnk, size(areas), areas)
    sums(clipped) = sums(clipped) + sum(counts%clipped)
    sums(limited) = sums(limited) + sum(counts%limited)
    sums(heat) = sums(heat) + sum(areas * counts%heat_source)
    sums(water) = sums(water) + sum(areas * counts%water_source)
    sums(area) = sums(area) + sum(areas)
  end subroutine count_legacy

  !> Counts how much the range policy held the columns of one chunk, of which the first is first.
  subroutine count_range_use(use, first, n_column, lchnk)
    type(range_use), intent(in) :: use                       !! Of all columns of the step.
    integer, intent(in) :: first, n_column, lchnk
    real(r8) :: areas(n_column)
    integer :: last

    last = first + n_column - 1
    call get_area_all_p(lchnk, n_column, areas)
    sums(held_by) = sums(held_by) + sum(areas * use%heating(first:last))
    sums(held_mass) = sums(held_mass) + sum(areas * use%mass_share(first:last))
    sums(held_values) = sums(held_values) + sum(areas * use%clipped(first:last))
    sums(held_area) = sums(held_area) + sum(areas)
  end subroutine count_range_use

  !> Counts what the global water fixer did in one step.
  subroutine count_water_fix(fix)
    type(water_fix), intent(in) :: fix

    n_fixed = n_fixed + 1
    made = made + fix%made
    added = added + fix%added
    lowest = min(lowest, fix%factor)
    highest = max(highest, fix%factor)
  end subroutine count_water_fix

  !> Ends a step, and writes the line where the interval ends. Collective.
  subroutine end_counted_step(answered)
    logical, intent(in) :: answered                          !! Whether the emulator ran.
    real(r8) :: totals(size(sums))
    integer :: interval

    n_step = n_step + 1
    if (answered) n_answered = n_answered + 1
    interval = climlink_log_steps
    if (interval == 0) interval = max(1, day / get_step_size())
    if (interval < 0) return
    if (mod(get_nstep() + 1, interval) /= 0) return
    call sum_on_master(sums, totals)
    if (masterproc) write (iulog, '(a)') line(totals)
    sums = 0.0_r8
    n_step = 0
    n_answered = 0
    n_fixed = 0
    made = 0.0_r8
    added = 0.0_r8
    lowest = huge(lowest)
    highest = 0.0_r8
  end subroutine end_counted_step

  !> The line of the log.
  function line(totals) result(text)
    real(r8), intent(in) :: totals(:)
    character(len=:), allocatable :: text

    text = 'mmf_nn_emulator: to step ' // number_text(get_nstep()) // ': answered in ' &
           // number_text(n_answered) // ' of ' // number_text(n_step) // ' steps, ' &
           // count_text(totals(columns)) // ' columns'
    if (totals(held_area) > 0.0_r8) text = text // range_text(totals)
    if (climlink_water_fixer /= 'none' .and. n_fixed > 0) text = text // fixer_text()
    if (.not. climlink_legacy) return
    text = text // '; surface fields clipped ' // count_text(totals(clipped)) &
           // ', levels limited ' // count_text(totals(limited)) // ', heat added ' &
           // mean_text(totals(heat), totals(area)) // ' W/m2, water added ' &
           // mean_text(totals(water), totals(area)) // ' kg/m2/s'
  end function line

  !> How much the range policy held, as means over the globe and the steps with answers.
  function range_text(totals) result(text)
    real(r8), intent(in) :: totals(:)
    character(len=:), allocatable :: text

    associate (globe => totals(held_area))
      text = '; range policy: heating ' // mean_text(totals(held_by), globe) &
             // ' W/m2, share of the mass relaxed ' // mean_text(totals(held_mass), globe) &
             // ', values clipped ' // mean_text(totals(held_values), globe) // ' per column'
    end associate
  end function range_text

  !> What the global water fixer did, as means over its steps.
  function fixer_text() result(text)
    character(len=:), allocatable :: text
    real(r8) :: steps

    steps = real(n_fixed, r8)
    text = '; water of the globe made ' // mean_text(made, steps) // ' kg/m2/s, precipitation ' &
           // 'added ' // mean_text(added, steps) // ' kg/m2/s, by factors from ' &
           // mean_text(lowest, 1.0_r8) // ' to ' // mean_text(highest, 1.0_r8)
  end function fixer_text

  !> A count, which may be larger than an integer.
  function count_text(number) result(text)
    real(r8), intent(in) :: number
    character(len=:), allocatable :: text
    character(len=24) :: digits

    write (digits, '(f24.0)') number
    text = trim(adjustl(digits(:len(digits) - 1)))
  end function count_text

  !> A mean, such as over the globe and the steps with answers; 0 if there were none.
  function mean_text(total, total_area) result(text)
    real(r8), intent(in) :: total, total_area
    character(len=:), allocatable :: text
    character(len=12) :: digits
    real(r8) :: mean

    mean = 0.0_r8
    if (total_area > 0.0_r8) mean = total / total_area
    write (digits, '(es12.5)') mean
    text = trim(adjustl(digits))
  end function mean_text

end module mmf_nn_counters
