!> Tables of columns in which every variable has a number of its own: what is found under its name
!! is its own.
module numbered_columns
  use aqua_column_table, only: input_columns, output_columns
  use aqua_constants, only: r8
  implicit none (type, external)
  private

  public :: number_inputs, number_outputs

contains

  !> All inputs but pressure. The values are 1000 times the number and 100 times the step, grow by 1
  !! per level and by 0.001 per column.
  subroutine number_inputs(inputs, step)
    type(input_columns), intent(inout) :: inputs
    integer, intent(in) :: step

    call number_profile(inputs%t, 1, step)
    call number_profile(inputs%q, 2, step)
    call number_profile(inputs%qc, 3, step)
    call number_profile(inputs%qi, 4, step)
    call number_profile(inputs%u, 5, step)
    call number_profile(inputs%v, 6, step)
    call number_profile(inputs%ozone, 7, step)
    call number_profile(inputs%ch4, 8, step)
    call number_profile(inputs%n2o, 9, step)
    call number_scalar(inputs%solin, 10, step)
    call number_scalar(inputs%coszrs, 11, step)
    call number_scalar(inputs%lhflx, 12, step)
    call number_scalar(inputs%shflx, 13, step)
    call number_scalar(inputs%taux, 14, step)
    call number_scalar(inputs%tauy, 15, step)
    call number_scalar(inputs%asdir, 16, step)
    call number_scalar(inputs%asdif, 17, step)
    call number_scalar(inputs%aldir, 18, step)
    call number_scalar(inputs%aldif, 19, step)
    call number_scalar(inputs%lwup, 20, step)
    call number_scalar(inputs%ocnfrac, 21, step)
    call number_scalar(inputs%icefrac, 22, step)
    call number_scalar(inputs%landfrac, 23, step)
    call number_scalar(inputs%snowhland, 24, step)
    call number_scalar(inputs%snowhice, 25, step)
  end subroutine number_inputs

  !> All outputs; tendencies are a thousandth of it.
  subroutine number_outputs(outputs, step)
    type(output_columns), intent(inout) :: outputs
    integer, intent(in) :: step

    call number_scalar(outputs%netsw, 31, step)
    call number_scalar(outputs%flwds, 32, step)
    call number_scalar(outputs%precsc, 33, step)
    call number_scalar(outputs%precc, 34, step)
    call number_scalar(outputs%sols, 35, step)
    call number_scalar(outputs%soll, 36, step)
    call number_scalar(outputs%solsd, 37, step)
    call number_scalar(outputs%solld, 38, step)
    call number_profile(outputs%dtdt, 39, step)
    call number_profile(outputs%dqdt, 40, step)
    call number_profile(outputs%dqcdt, 41, step)
    call number_profile(outputs%dqidt, 42, step)
    call number_profile(outputs%dudt, 43, step)
    call number_profile(outputs%dvdt, 44, step)
    outputs%dtdt = 1.0e-3_r8 * outputs%dtdt
    outputs%dqdt = 1.0e-3_r8 * outputs%dqdt
    outputs%dqcdt = 1.0e-3_r8 * outputs%dqcdt
    outputs%dqidt = 1.0e-3_r8 * outputs%dqidt
    outputs%dudt = 1.0e-3_r8 * outputs%dudt
    outputs%dvdt = 1.0e-3_r8 * outputs%dvdt
  end subroutine number_outputs

  pure subroutine number_profile(values, number, step)
    real(r8), intent(out) :: values(:, :)                  !! [level, column]
    integer, intent(in) :: number, step
    integer :: k

    do k = 1, size(values, 1)
      call number_scalar(values(k, :), number, step)
      values(k, :) = values(k, :) + real(k, r8)
    end do
  end subroutine number_profile

  pure subroutine number_scalar(values, number, step)
    real(r8), intent(out) :: values(:)                     !! [column]
    integer, intent(in) :: number, step
    integer :: column

    values = real(1000 * number + 100 * step, r8) &
             + [(0.001_r8 * real(column, r8), column = 1, size(values))]
  end subroutine number_scalar

end module numbered_columns
