!> A provider, as hosts have it: a module's procedure, which may be called wherever the table is.
module test_host_provider
  use, intrinsic :: iso_fortran_env, only: real64
  use climlink, only: climlink_error_host, climlink_status
  implicit none (type, external)
  private

  public :: made, value

  integer, public :: rank = 0

contains

  !> Value of variable v in column i at level k, of no other variable, column or level.
  elemental function value(v, i, k) result(x)
    integer, intent(in) :: v, i, k
    real(real64) :: x

    x = real(1000 * v + 100 * (rank + 1) + 10 * i + k, real64)
  end function value

  !> values [sample, width]; context is the number of the variable t, 0 for a host that cannot.
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
      if (context == 0) then
        status%code = climlink_error_host
        status%message = name // ': nothing to give'
      end if
    end select
    if (name /= 'state_t') return
    do i = 1, size(values, 1)
      values(i, :) = [(value(1, first_sample + i - 1, k), k=1, size(values, 2))]
    end do
  end subroutine made

end module test_host_provider

!> The one table of a host against packages of columns, to the last bit, and one message that names
!! all that does not fit. Fields are in test_fields.
program test_host_tables
  use, intrinsic :: iso_fortran_env, only: real32, real64
#ifdef CLIMLINK_MPI
  use mpi_f08, only: MPI_Comm_rank, MPI_COMM_WORLD, MPI_Finalize, MPI_Init
#endif
  use climlink, only: climlink_emulator, climlink_error_argument, climlink_error_host, &
                      climlink_error_shape, climlink_error_state, climlink_error_variable, &
                      climlink_host_fields, climlink_status
  use test_support, only: check, check_error, finish, fixture, gain_ps, gain_q, gain_solar, &
                          gain_t, n_level, same => same_bits
  use test_host_provider, only: made, rank, value
  implicit none (type, external)

  integer, parameter :: n_column = 5
  character(len=*), parameter :: table = ": the host's table: "
  type(climlink_emulator) :: emulator
  type(climlink_status) :: status
  real(real64), allocatable, target :: never(:, :)      !! Never allocated.
  character(len=8) :: where

#ifdef CLIMLINK_MPI
  call MPI_Init()
  call MPI_Comm_rank(MPI_COMM_WORLD, rank)
#endif
  write (where, '(a,i0)') 'rank ', rank
  call emulator%open(fixture('column.pt'), status, n_level=n_level)
  call check(status%ok(), 'open: ' // status%message)
  call columns_of_any_kind_and_order()
  call chunks()
  call without_columns()
  call providers()
  call everything_wrong_at_once()
  call tables_that_make_no_sense()
  call values_that_are_not_there()
  call calls_out_of_order()
  call emulator%close(status)
  call history_and_carried_state()
#ifdef CLIMLINK_MPI
  call MPI_Finalize()
#endif
  call finish()

contains

  !> What column.pt makes of value: one product in real32.
  elemental function answer(v, i, k, gain) result(y)
    integer, intent(in) :: v, i, k
    real(real32), intent(in) :: gain
    real(real64) :: y

    y = real(real(value(v, i, k), real32) * gain, real64)
  end function answer

  !> real32 and real64, [level, column], sections and more columns than the table has.
  subroutine columns_of_any_kind_and_order()
    type(climlink_host_fields) :: fields
    real(real64), target :: t(n_level, n_column + 2), both(2, n_column)
    real(real32), target :: q(2 * n_column, n_level), dtdt(n_column, n_level)
    real(real64), target :: dqdt(n_level, 3, n_column), rain(n_column), sun(n_column)
    integer :: i, k

    t = huge(t)
    q = huge(q)
    dqdt = -1.0_real64
    do i = 1, n_column
      both(:, i) = [value(3, i, 0), value(4, i, 0)]
      do k = 1, n_level
        t(n_level + 1 - k, i) = value(1, i, k)
        q(2 * i, k) = real(value(2, i, k), real32)
      end do
    end do
    call fields%begin(n_column)
    call fields%add_profile('state_t', 'K', t(n_level:1:-1, :), axes='level sample')
    call fields%add_profile('state_q0001', 'kg/kg', q(2::2, :))
    call fields%add_scalar('state_ps', 'Pa', both(1, :))
    call fields%add_scalar('pbuf_SOLIN', 'W/m2', both(2, :))
    call fields%add_scalar('of_no_interest', 'm')
    call fields%add_profile('ptend_t', 'K/s', dtdt, taken=.true.)
    call fields%add_profile('ptend_q0001', 'kg/kg/s', dqdt(:, 2, :), .true., ' level  sample ')
    call fields%add_scalar('cam_out_PRECC', 'm/s', rain, taken=.true.)
    call fields%add_scalar('cam_out_NETSW', 'W/m2', sun, taken=.true.)
    call fields%check(emulator, status)
    call check(status%ok(), 'a table that fits: ' // status%message)
    call check(fields%count() == n_column .and. fields%has('of_no_interest') .and. &
               .not. fields%has('ptend_t'), 'count and has')
    call emulator%begin(n_column, status)
    call fields%send(emulator, status)
    call check(status%ok(), 'send: ' // status%message)
    call emulator%run(status)
    call fields%receive(emulator, status)
    call check(status%ok(), 'receive: ' // status%message)
    do i = 1, n_column
      call check(same(rain(i), answer(3, i, 0, gain_ps)) .and. &
                 same(sun(i), answer(4, i, 0, gain_solar)), 'scalars')
      do k = 1, n_level
        call check(same(real(dtdt(i, k), real64), answer(1, i, k, gain_t)), 'ptend_t')
        call check(same(dqdt(k, 2, i), answer(2, i, k, gain_q)), 'ptend_q0001')
      end do
    end do
    call check(all(dqdt(:, 1::2, :) < -0.5_real64), 'receive touches nothing else')
  end subroutine columns_of_any_kind_and_order

  !> The same arrays for every chunk, the last one short, the table made anew for each.
  subroutine chunks()
    integer, parameter :: pcols = 2
    type(climlink_host_fields) :: fields
    real(real64), target :: t(pcols, n_level), ps(pcols), dtdt(pcols, n_level)
    integer :: first, ncol, i, k

    call emulator%begin(n_column, status)
    do first = 1, n_column, pcols
      ncol = min(pcols, n_column - first + 1)
      t = huge(t)
      ps = huge(ps)
      do i = 1, ncol
        ps(i) = value(3, first + i - 1, 0)
        t(i, :) = [(value(1, first + i - 1, k), k=1, n_level)]
      end do
      call declare(fields, ncol, t, ps, dtdt)
      call fields%send(emulator, status, first_sample=first)
      call check(status%ok(), 'chunks: send: ' // status%message)
    end do
    call emulator%run(status)
    do first = 1, n_column, pcols
      ncol = min(pcols, n_column - first + 1)
      dtdt = -1.0_real64
      call declare(fields, ncol, t, ps, dtdt)
      call fields%receive(emulator, status, first_sample=first)
      call check(status%ok(), 'chunks: receive: ' // status%message)
      do k = 1, n_level
        call check(all(same(dtdt(:ncol, k), answer(1, [(first + i, i=0, ncol - 1)], k, gain_t))), &
                   'chunks')
      end do
      call check(all(dtdt(ncol + 1:, :) < -0.5_real64), 'columns behind the chunk are left alone')
    end do
    call emulator%begin(n_column, status)
    call fields%send(emulator, status, first_sample=n_column + 1)
    call check_error(status, climlink_error_shape, 'do not lie within the 5 columns given to begin')
  end subroutine chunks

  subroutine declare(fields, ncol, t, ps, dtdt)
    type(climlink_host_fields), intent(inout) :: fields
    integer, intent(in) :: ncol
    real(real64), target, intent(in) :: t(:, :), ps(:), dtdt(:, :)

    call fields%begin(ncol)
    call fields%add_profile('ptend_t', 'K/s', dtdt, taken=.true.)
    call fields%add_scalar('pbuf_SOLIN', 'W/m2', ps)
    call fields%add_scalar('state_ps', 'Pa', ps)
    call fields%add_profile('state_q0001', 'kg/kg', t)
    call fields%add_profile('state_t', 'K', t)
  end subroutine declare

  !> A rank without columns has arrays without elements, or none at all.
  subroutine without_columns()
    type(climlink_host_fields) :: fields
    real(real64), allocatable, target :: none(:, :), scalar(:)

    call emulator%begin(0, status)
    call fields%begin(0)
    call fields%add_profile('state_t', 'K', never)
    call fields%add_profile('ptend_t', 'K/s', never, taken=.true.)
    allocate (none(0, n_level), scalar(0))
    call fields%add_profile('state_q0001', 'kg/kg', none)
    call fields%add_scalar('state_ps', 'Pa', scalar)
    call fields%add_scalar('pbuf_SOLIN', 'W/m2', scalar)
    call fields%add_profile('ptend_q0001', 'kg/kg/s', none, taken=.true.)
    call fields%check(emulator, status)
    call check(status%ok(), 'no columns: check: ' // status%message)
    call fields%send(emulator, status)
    call check(status%ok(), 'no columns: send: ' // status%message)
    call emulator%run(status)
    call check(status%ok(), 'no columns: run: ' // status%message)
    call fields%receive(emulator, status)
    call check(status%ok(), 'no columns: receive: ' // status%message)
  end subroutine without_columns

  !> What is made where it is wanted, of the samples that are wanted; and fetched without a package.
  subroutine providers()
    type(climlink_host_fields) :: fields
    integer, target :: offset
    real(real64), target :: ps(2), dtdt(2, n_level)
    real(real64) :: values(2, n_level)
    integer :: k

    offset = 1
    ps = 1.0_real64
    call fields%begin(2)
    call fields%add_provider('state_t', 'K', made, 'sample level', offset)
    call fields%add_provider('state_q0001', 'kg/kg', made, 'sample level', offset)
    call fields%add_scalar('state_ps', 'Pa', ps)
    call fields%add_provider('pbuf_SOLIN', 'W/m2', made, 'sample', offset)
    call fields%add_profile('ptend_t', 'K/s', dtdt, taken=.true.)
    call fields%check(emulator, status)
    call check(status%ok(), 'providers: check: ' // status%message)
    call emulator%begin(4, status)
    call fields%send(emulator, status)
    call fields%send(emulator, status, first_sample=3)
    call emulator%run(status)
    call check(status%ok(), 'providers: run: ' // status%message)
    call fields%receive(emulator, status, first_sample=3)
    do k = 1, n_level
      call check(all(same(dtdt(:, k), answer(1, [3, 4], k, gain_t))), 'providers: columns 3 and 4')
    end do
    call fields%fetch('state_t ', values, status, first_sample=2)
    call check(status%ok() .and. same(values(1, 2), value(1, 2, 2)), 'fetch from a provider')
    call fields%fetch('state_ps', values(:, :1), status)
    call check(status%ok() .and. all(same(values(:, 1), ps)), 'fetch from an array')
    call fields%fetch('state_x', values, status)
    call check_error(status, climlink_error_variable, trim(where) // table // &
                     'the host gives no state_x')
    status = climlink_status()
    call fields%fetch('state_ps', values, status)
    call check_error(status, climlink_error_shape, 'state_ps: the array has not the shape')
    offset = 0
    call emulator%begin(2, status)
    call fields%send(emulator, status)
    call check_error(status, climlink_error_host, 'nothing to give')
  end subroutine providers

  !> One message names all; every part says what to do or what there is.
  subroutine everything_wrong_at_once()
    type(climlink_host_fields) :: fields
    character(len=*), parameter :: parts(5) = [character(len=96) :: &
      ': check: the package fixture does not fit this host: inputs that the host does not give: ', &
      'state_q0001 (near names: state_q0002', &
      'outputs that the host takes and the package does not have: ptend_T (near names: ptend_t', &
      'pbuf_SOLIN (host 1, package W/m2)', 'state_ps (host [level], package [])']
    integer :: i

    call fields%begin(n_column)
    call fields%add_profile('state_t', 'K')
    call fields%add_profile('state_q0002', 'kg/kg')
    call fields%add_profile('state_ps', 'Pa')
    call fields%add_scalar('pbuf_SOLIN', '1')
    call fields%add_profile('ptend_T', 'K/s', taken=.true.)
    call fields%check(emulator, status)
    do i = 1, size(parts)
      call check_error(status, climlink_error_variable, trim(parts(i)))
    end do
    call check(index(status%message, trim(where) // ': check: ') == 1, 'starts with the rank')
    call fields%begin(n_column)
    call fields%add_profile('state_t', 'degC')
    call fields%add_profile('state_q0001', 'kg/kg')
    call fields%add_scalar('state_ps', 'Pa')
    call fields%add_scalar('pbuf_SOLIN', 'W/m2')
    call fields%check(emulator, status)
    call check_error(status, climlink_error_host, 'state_t (host degC, package K)')
  end subroutine everything_wrong_at_once

  !> What is wrong with the table itself is said by whoever uses it, and the first of it only.
  subroutine tables_that_make_no_sense()
    real(real64), target :: t(n_column, n_level)

    call refused('add_scalar', [4, 6], t, climlink_error_shape, &
                 'state_t: the array has rank 2, the axes are 1')
    call refused('sample level', [4, 6], t, climlink_error_shape, &
                 'state_t: the array holds 4 samples along axis 1, the table 5')
    call refused('level sample', [5, 6], t, climlink_error_argument, '')
    call refused('level sample', [4, 4], t, climlink_error_shape, 'holds 4 samples along axis 2')
    call refused('lat lon', [5, 6], t, climlink_error_argument, &
                 "state_t: the axes are 'lat lon'; expected at most 4 names, one of them sample")
    call refused('sample a b c d', [5, 6], t, climlink_error_argument, 'at most 4 names')
    call refused('sample sample', [5, 6], t, climlink_error_argument, '')
    call refused('', [5, 6], t, climlink_error_argument, "the axes are ''")
    call refused('twice', [5, 6], t, climlink_error_argument, 'state_t stands there twice')
  end subroutine tables_that_make_no_sense

  subroutine refused(axes, extents, t, code, text)
    character(len=*), intent(in) :: axes
    integer, intent(in) :: extents(2), code
    real(real64), target, intent(in) :: t(:, :)
    character(len=*), intent(in) :: text
    type(climlink_host_fields) :: fields
    integer, target :: whole(n_column)

    call fields%begin(n_column)
    associate (part => t(:extents(1), :extents(2)))
      select case (axes)
      case ('add_scalar')
        call fields%add_scalar('state_t', 'K', part)
      case ('twice')
        call fields%add_profile('state_t', 'K', part)
        call fields%add_profile('state_t', 'K', part, taken=.true.)
        call fields%add_profile('state_t', 'K', part)
      case default
        call fields%add_profile('state_t', 'K', part, axes=axes)
      end select
    end associate
    if (len(text) == 0) then        ! this one fits
      call fields%check(emulator, status)
      call check(index(status%message, table) == 0, axes // ': ' // status%message)
      return
    end if
    whole = 1
    call fields%add_scalar('state_ps', 'Pa', whole)
    call fields%check(emulator, status)
    call check_error(status, code, trim(where) // table)
    call check_error(status, code, text)
    call fields%send(emulator, status)
    call check_error(status, code, text)
    call fields%receive(emulator, status)
    call check_error(status, code, text)
    call fields%begin(n_column)
    call fields%add_scalar('state_ps', 'Pa', whole)
    call fields%check(emulator, status)
    call check_error(status, climlink_error_shape, &
                     'state_ps: the values must be real32 or real64; they are integer')
  end subroutine refused

  !> An entry without an array, or with one that is not allocated, is for check alone.
  subroutine values_that_are_not_there()
    type(climlink_host_fields) :: fields
    real(real64), allocatable, target :: q(:, :)
    real(real64), target :: ps(n_column)
    real(real64), pointer :: gone(:)
    real(real64) :: values(n_column, n_level)

    allocate (q(n_column, n_level), source=1.0_real64)
    deallocate (q)
    gone => ps
    nullify (gone)
    ps = 1.0_real64
    call fields%begin(n_column)
    call fields%add_profile('state_t', 'K', never)
    call fields%add_profile('state_q0001', 'kg/kg', q)
    call fields%add_scalar('state_ps', 'Pa', ps)
    call fields%add_scalar('pbuf_SOLIN', 'W/m2', gone)
    call fields%add_profile('ptend_t', 'K/s', never, taken=.true.)
    call fields%check(emulator, status)
    call check(status%ok(), 'declared is enough for check: ' // status%message)
    call emulator%begin(n_column, status)
    call fields%send(emulator, status)
    call check_error(status, climlink_error_state, trim(where) // table // &
                     'state_t is declared without an array, or with one that is not allocated')
    call fields%fetch('pbuf_SOLIN', values, status)
    call check_error(status, climlink_error_state, 'pbuf_SOLIN is declared without an array')
    call fields%begin(n_column)
    call fields%add_scalar('state_ps', 'Pa', ps)
    call fields%send(emulator, status)
    call check_error(status, climlink_error_variable, 'send: the host gives no state_t')
  end subroutine values_that_are_not_there

  subroutine calls_out_of_order()
    type(climlink_host_fields) :: fields
    type(climlink_emulator) :: closed
    real(real64), target :: t(n_column, n_level), ps(n_column)

    t = 1.0_real64
    ps = 1.0_real64
    call fields%add_scalar('state_ps', 'Pa', ps)
    call check(fields%count() == 0, 'no samples before begin')
    call fields%check(emulator, status)
    call check_error(status, climlink_error_state, table // 'check: call begin before the first')
    call fields%begin(-2)
    call fields%check(emulator, status)
    call check_error(status, climlink_error_argument, table // 'begin: -2 samples')
    call declare(fields, n_column, t, ps, t)
    call fields%check(closed, status)
    call check_error(status, climlink_error_state, table // 'check: the emulator is not open')
    call fields%send(closed, status)
    call check_error(status, climlink_error_state, 'send: the emulator is not open')
    call fields%receive(closed, status)
    call check_error(status, climlink_error_state, 'receive: the emulator is not open')
    call check(fields%steps_needed(closed) == 0, 'a closed one needs no steps')
    call emulator%close(status)
    call emulator%open(fixture('column.pt'), status)
    call fields%send(emulator, status)
    call check_error(status, climlink_error_state, 'begin')
    call emulator%begin(n_column, status)
    call fields%receive(emulator, status)
    call check_error(status, climlink_error_state, 'run')
    call emulator%begin(n_column + 1, status)
    call fields%send(emulator, status)
    call emulator%run(status)
    call check_error(status, climlink_error_variable, '1 of 6')
  end subroutine calls_out_of_order

  !> Too few steps before the first, and carried variables that the host gives too, are said with
  !! the rest.
  subroutine history_and_carried_state()
    type(climlink_host_fields) :: fields
    real(real64), target :: forcing(n_column)
    integer, target :: nothing

    nothing = 0
    forcing = 1.0_real64
    call emulator%open(fixture('sums.pt'), status)
    call fields%begin(n_column)
    call fields%add_provider('forcing', '1', made, 'sample', nothing, steps_needed=3)
    call fields%add_provider('of_no_interest', '1', made, 'sample', nothing, steps_needed=9)
    call fields%add_scalar('initial', '1')
    call check(fields%steps_needed(emulator) == 3, 'steps_needed')
    call fields%check(emulator, status, spin_up_steps=3)
    call check(status%ok(), 'enough steps: ' // status%message)
    call fields%check(emulator, status)
    call check(status%ok(), 'a host that does not say: ' // status%message)
    call fields%check(emulator, status, spin_up_steps=2, spin_up_entry='cb_spinup_step')
    call check_error(status, climlink_error_host, &
                     'check: lagged inputs need 3 steps of the host''s own physics first: ' // &
                     'set cb_spinup_step to 3 or more, not 2')
    call emulator%begin(n_column, status)
    call fields%begin(n_column)
    call fields%add_scalar('forcing', '1', forcing)
    call fields%add_scalar('initial', '1', forcing)
    call fields%send(emulator, status)
    call check(status%ok(), 'what is carried is not asked of the host: ' // status%message)
    call emulator%run(status)
    call check_error(status, climlink_error_variable, 'start (5 of 5')
    call fields%begin(n_column)
    call fields%add_provider('forcing', '1', made, 'sample', nothing, steps_needed=3)
    call fields%add_scalar('initial', '1')
    call fields%add_field('sum_table', '1', 'sample level unit')
    call fields%add_scalar('start', '1')
    call fields%check(emulator, status, spin_up_steps=0)
    call check_error(status, climlink_error_host, 'sum_table (carried)')
    call check_error(status, climlink_error_host, 'start (start)')
    call check_error(status, climlink_error_host, 'Also, lagged inputs need 3 steps')
    call emulator%close(status)
  end subroutine history_and_carried_state

end program test_host_tables
