!> Values go in and come out by name: every kind, rank and stride that a model has, checked to the
!! last bit.
program test_set_get
  use, intrinsic :: iso_fortran_env, only: int64, real32, real64
  use climlink, only: climlink_emulator, climlink_error_shape, climlink_error_state, &
                      climlink_status, climlink_variable
  use test_support, only: check, check_error, finish, fixture, gain_ps, gain_q, gain_solar, &
                          gain_t, n_level, same_bits, time_step
  implicit none (type, external)

  integer, parameter :: n_column = 11
  type(climlink_emulator) :: emulator
  type(climlink_status) :: status
  real(real64) :: t(n_column, n_level), q(n_column, n_level), ps(n_column)
  real(real32) :: solar(n_column)
  integer :: i, k

  do k = 1, n_level
    do i = 1, n_column
      t(i, k) = 200.0_real64 + i + 0.1_real64 * k
      q(i, k) = 1e-3_real64 * i / k
    end do
  end do
  ps = [(9e4_real64 + 37.5_real64 * i, i=1, n_column)]
  solar = [(100.0_real32 * i, i=1, n_column)]

  call emulator%open(fixture('column.pt'), status, n_level=n_level, time_step=time_step)
  call check(status%ok(), 'open: ' // status%message)
  call queries()
  call whole_arrays()
  call chunks_of_larger_arrays()
  call strided_sections()
  call reversed_and_inner_sections()
  call without_columns()
  call emulator%close(status)
  call check(status%ok() .and. .not. emulator%is_open(), 'close')
  call range_use()
  call finish()

contains

  subroutine queries()
    type(climlink_variable) :: q_in, ps_in, t_out, netsw_out

    q_in = emulator%input(2)
    ps_in = emulator%input(3)
    t_out = emulator%output(1)
    netsw_out = emulator%output(4)
    call check(emulator%n_input() == 4 .and. emulator%n_output() == 4, 'counts')
    call check(emulator%input_name(2) == 'state_q0001' .and. q_in%name == 'state_q0001' &
               .and. q_in%units == 'kg/kg', 'input 2')
    call check(q_in%width == n_level .and. ps_in%width == 1, 'input widths')
    call check(emulator%output_name(1) == 'ptend_t' .and. t_out%units == 'K/s', 'output 1')
    call check(t_out%width == n_level .and. netsw_out%width == 1, 'output widths')
    call check(emulator%input_name(0) == '' .and. emulator%input_name(5) == '', &
               'names outside the list')
    t_out = emulator%output(5)
    netsw_out = emulator%output(-1)
    call check(t_out%width == 0 .and. netsw_out%units == '' .and. size(t_out%sizes) == 0 .and. &
               emulator%output_name(5) == '', 'outside the list of outputs')
    call check(emulator%has_input('state_t') .and. emulator%has_input('state_t  '), &
               'has_input, also padded')
    call check(.not. emulator%has_input('ptend_t') .and. emulator%has_output('ptend_t'), &
               'roles are apart')
    call check(emulator%level_count() == n_level, 'level_count')
    call check(abs(emulator%time_step() - time_step) < tiny(time_step), 'time_step')
    call check(emulator%golden_difference() < 1e-6_real64, 'golden_difference')
    call check(emulator%host_postprocessing() == 'none', 'host_postprocessing')
    call check(len(emulator%digest()) == 64 .and. emulator%device() == 'cpu', 'digest and device')
    call check(index(emulator%manifest(), '"schema_version"') > 0, 'manifest')
  end subroutine queries

  subroutine run_and_check(what)
    character(len=*), intent(in) :: what
    real(real32) :: dt_dt(n_column, n_level), precc(n_column)
    real(real64) :: dq_dt(n_column, n_level), netsw(n_column)

    call emulator%run(status)
    call check(status%ok(), what // ': run: ' // status%message)
    call emulator%get('ptend_t', dt_dt, 1, status, units='K/s')
    call emulator%get('ptend_q0001', dq_dt, 1, status)
    call emulator%get('cam_out_PRECC', precc, 1, status)
    call emulator%get('cam_out_NETSW', netsw, 1, status)
    call check(status%ok(), what // ': get')
    call check(all(same(real(dt_dt, real64), t, gain_t)), what // ': ptend_t')
    call check(all(same(dq_dt, q, gain_q)), what // ': ptend_q0001')
    call check(all(same(real(precc, real64), ps, gain_ps)), what // ': cam_out_PRECC')
    call check(all(same(netsw, real(solar, real64), gain_solar)), what // ': cam_out_NETSW')
  end subroutine run_and_check

  !> True where got is the float32 product of source and gain, bit for bit.
  elemental function same(got, source, gain) result(yes)
    real(real64), intent(in) :: got
    real(real64), intent(in) :: source
    real(real32), intent(in) :: gain
    logical :: yes

    yes = transfer(got, 0_int64) == transfer(real(real(source, real32) * gain, real64), 0_int64)
  end function same

  subroutine whole_arrays()
    call emulator%begin(n_column, status)
    call emulator%set('state_t', t, 1, status, units='K')
    call emulator%set('state_q0001', real(q, real32), 1, status)
    call emulator%set('state_ps', ps, 1, status)
    call emulator%set('pbuf_SOLIN', solar, 1, status)
    call check(status%ok(), 'whole arrays: set')
    call run_and_check('whole arrays')
  end subroutine whole_arrays

  !> As models do it: chunk arrays are longer than the chunk, and the last chunk is short.
  subroutine chunks_of_larger_arrays()
    integer, parameter :: pcols = 4
    real(real64) :: t_chunk(pcols, n_level), ps_chunk(pcols)
    real(real32) :: q_chunk(pcols, n_level)
    integer :: first, ncol

    call emulator%begin(n_column, status)
    do first = 1, n_column, pcols
      ncol = min(pcols, n_column - first + 1)
      t_chunk = -huge(t_chunk)
      t_chunk(:ncol, :) = t(first:first + ncol - 1, :)
      q_chunk(:ncol, :) = real(q(first:first + ncol - 1, :), real32)
      ps_chunk(:ncol) = ps(first:first + ncol - 1)
      call emulator%set('state_t', t_chunk(:ncol, :), first, status)
      call emulator%set('state_q0001', q_chunk(:ncol, :), first, status)
      call emulator%set('state_ps', ps_chunk(:ncol), first, status)
      call emulator%set('pbuf_SOLIN', solar(first:first + ncol - 1), first, status)
      call check(status%ok(), 'chunks: set')
    end do
    call run_and_check('chunks')
  end subroutine chunks_of_larger_arrays

  !> Every second column, columns in the middle of a rank-3 array, and outputs into strided memory.
  subroutine strided_sections()
    real(real64) :: wide(2 * n_column, n_level), fields(n_column, 3, n_level), &
                    two_scalars(2, n_column)
    real(real32) :: spaced(3 * n_column, n_level)

    wide = huge(wide)
    wide(1::2, :) = t
    fields = huge(fields)
    fields(:, 2, :) = q
    two_scalars(2, :) = ps
    call emulator%begin(n_column, status)
    call emulator%set('state_t', wide(1::2, :), 1, status)
    call emulator%set('state_q0001', fields(:, 2, :), 1, status)
    call emulator%set('state_ps', two_scalars(2, :), 1, status)
    call emulator%set('pbuf_SOLIN', reshape(solar, [n_column, 1]), 1, status)
    call check(status%ok(), 'strided: set: ' // status%message)
    call run_and_check('strided')
    spaced = -1.0_real32
    call emulator%get('ptend_t', spaced(2::3, :), 1, status)
    call check(all(same(real(spaced(2::3, :), real64), t, gain_t)), 'strided: get')
    call check(all(spaced(1::3, :) < -0.5_real32) .and. all(spaced(3::3, :) < -0.5_real32), &
               'strided: get touches nothing else')
  end subroutine strided_sections

  !> Negative strides (a model that counts levels from the ground) and some columns only.
  subroutine reversed_and_inner_sections()
    real(real64) :: upside_down(n_column, n_level), some(3, n_level)

    upside_down = t(:, n_level:1:-1)
    call emulator%begin(n_column, status)
    call emulator%set('state_t', upside_down(:, n_level:1:-1), 1, status)
    call emulator%set('state_q0001', q, 1, status)
    call emulator%set('state_ps', ps(6:), 6, status)
    call emulator%set('state_ps', ps(:5), 1, status)
    call emulator%set('pbuf_SOLIN', solar, 1, status)
    call check(status%ok(), 'reversed: set')
    call run_and_check('reversed')
    call emulator%get('ptend_t', some, 4, status)
    call check(all(same(some, t(4:6, :), gain_t)), 'inner columns')
  end subroutine reversed_and_inner_sections

  subroutine without_columns()
    real(real64), allocatable :: none(:, :)

    allocate (none(0, n_level))
    call emulator%begin(0, status)
    call check(status%ok(), 'no columns: begin')
    call emulator%set('state_t', t(1:0, :), 1, status)
    call check(status%ok(), 'no columns: set: ' // status%message)
    call emulator%set('state_t', none, 1, status)
    call check(status%ok(), 'no columns: set an array without elements: ' // status%message)
    call emulator%run(status)
    call check(status%ok(), 'no columns: run: ' // status%message)
    call emulator%get('ptend_t', t(1:0, :), 1, status)
    call check(status%ok(), 'no columns: get')
  end subroutine without_columns

  !> The package tells thirds of the first three temperatures (Ranged in cpp/tests).
  subroutine range_use()
    type(climlink_emulator) :: ranged
    real(real64) :: clipped(2 * n_column), heating(n_column), mass_share(n_column)

    call check(.not. emulator%has_range_policy(), 'closed: no range policy')
    call emulator%range_use(clipped(:n_column), heating, mass_share, status)
    call check_error(status, climlink_error_state, 'range_use: the emulator is not open')
    call ranged%open(fixture('ranged.pt'), status, n_level=n_level, time_step=time_step)
    call check(status%ok() .and. ranged%has_range_policy(), 'range policy: open')
    call ranged%begin(n_column, status)
    call ranged%set('state_t', t, 1, status)
    call ranged%set('state_q0001', q, 1, status)
    call ranged%set('state_ps', ps, 1, status)
    call ranged%set('pbuf_SOLIN', solar, 1, status)
    call ranged%range_use(clipped, heating, mass_share, status)
    call check_error(status, climlink_error_shape, 'have 22, 11, and 11 values')
    call ranged%range_use(clipped(:10), heating(:10), mass_share(:10), status)
    call check_error(status, climlink_error_shape, 'n_column is 10; this step has 11')
    clipped = -1.0_real64
    call ranged%range_use(clipped(1::2), heating, mass_share, status)
    call check(status%ok(), 'range_use: ' // status%message)
    call check(all(same_bits(clipped(1::2), third(t(:, 1)))) &
               .and. all(same_bits(heating, third(t(:, 2)))) &
               .and. all(same_bits(mass_share, third(t(:, 3)))), 'range_use of every column')
    call check(all(clipped(2::2) < 0.0_real64), 'range_use touches nothing else')
    call ranged%close(status)
  end subroutine range_use

  elemental function third(value)
    real(real64), intent(in) :: value
    real(real64) :: third

    third = real(real(value, real32), real64) / 3.0_real64
  end function third

end program test_set_get
