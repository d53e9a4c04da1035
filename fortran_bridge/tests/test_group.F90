!> Ranks that share one network: what each of them gets is, bit for bit, what it gets with a network
!! of its own; what fails on one rank is told where it must be.
program test_group
  use, intrinsic :: ieee_arithmetic, only: ieee_quiet_nan, ieee_value
  use, intrinsic :: iso_fortran_env, only: real64
  use mpi_f08, only: MPI_Barrier, MPI_Comm, MPI_Comm_rank, MPI_Comm_size, MPI_Comm_split, &
                     MPI_COMM_WORLD, MPI_Finalize, MPI_Init
  use climlink, only: climlink_emulator, climlink_error_argument, climlink_error_backend, &
                      climlink_error_nonfinite, climlink_error_shape, climlink_error_state, &
                      climlink_error_variable, climlink_host_fields, climlink_options, &
                      climlink_status, climlink_variable
  use climlink_groups, only: plan_group
  use test_support, only: check, check_error, finish, fixture, n_level, option, same_bits
  implicit none (type, external)

  type(climlink_emulator) :: shared, alone
  type(climlink_status) :: status
  integer :: rank, n_rank, everybody

  call MPI_Init()
  call MPI_Comm_rank(MPI_COMM_WORLD, rank)
  call MPI_Comm_size(MPI_COMM_WORLD, n_rank)
  everybody = MPI_COMM_WORLD%mpi_val

  call plans()
  call refused_openings()
  call bits_of('climsim_random.pt', option('group_size', '0'), everybody)
  call bits_of('climsim_random.pt', option('group_size', '2'), everybody)
  call bits_of('climsim_random.pt', small_batches(), everybody)
  call in_parts_of_the_model()
  call range_use_of_all()
  call who_is_asked()
  if (n_rank > 1) then
    call errors_of_one_rank()
    call errors_of_the_leader()
    call other_calls()
  end if
  call MPI_Finalize()
  call finish()

contains

  !> Any ratio of ranks to devices: groups are neighbours, all ranks belong to one, and devices have
  !! equal shares.
  subroutine plans()
    integer :: n_local, wanted, n_device, r, number, place, size, before
    integer :: sizes(0:63)

    do n_local = 1, 17
      do wanted = 0, 9
        do n_device = 0, 9
          before = -1
          sizes = 0
          do r = 0, n_local - 1
            call plan_group(r, n_local, wanted, n_device, number, place, size)
            call check(number == before + merge(1, 0, place == 0), 'neighbours')
            call check(place == sizes(number), 'places are taken in order')
            before = number
            sizes(number) = sizes(number) + 1
            if (place > 0) call check(size >= sizes(number), 'the size is the same for all')
          end do
          do r = 0, n_local - 1
            call plan_group(r, n_local, wanted, n_device, number, place, size)
            call check(size == sizes(number), 'the size is the number of ranks')
          end do
          if (wanted > 0) then
            call check(all(sizes(:before - 1) == wanted), 'whole groups, but the last')
          else
            call check(before + 1 == max(1, min(n_device, n_local)), 'a group for each device')
            call check(maxval(sizes(:before)) - minval(sizes(:before)) <= 1, 'equal shares')
          end if
        end do
      end do
    end do
    call plan_group(5, 8, 0, 2, number, place, size)
    call check(all([number, place, size] == [1, 1, 4]), 'rank 5 of 8 on 2 devices')
    call plan_group(2, 3, 0, 2, number, place, size)
    call check(all([number, place, size] == [1, 0, 1]), 'rank 2 of 3 on 2 devices is alone')
  end subroutine plans

  subroutine refused_openings()
    call alone%open(fixture('column.pt'), status, options=option('group_size', '2'))
    call check_error(status, climlink_error_argument, 'option group_size is 2, but this process')
    call shared%open(fixture('column.pt'), status, comm=everybody, &
                     options=option('group_size', '-1'))
    call check_error(status, climlink_error_argument, 'option group_size is "-1"; expected')
    call shared%open(fixture('column.pt'), status, comm=everybody, &
                     options=option('group_timeout_s', '-1'))
    call check_error(status, climlink_error_argument, 'option group_timeout_s is "-1"; expected')
    call shared%open(fixture('not_a_package.pt'), status, comm=everybody, &
                     options=option('group_size', '0'))
    call check(.not. status%ok() .and. .not. shared%is_open(), 'no package for the group')
    if (n_rank == 1) return
    call shared%open(fixture('column.pt'), status, comm=everybody, &
                     options=option('group_size', merge('2', '1', rank == n_rank - 1)))
    call check_error(status, climlink_error_argument, 'rank 0: open: group_size is 1 here, but')
    call shared%open(fixture('column.pt'), status, comm=everybody, &
                     n_level=merge(61, n_level, rank == n_rank - 1), &
                     options=option('group_size', '0'))
    call check(.not. status%ok() .and. index(status%message, '61') > 0, 'a wrong claim of one rank')
    call check(.not. shared%is_open(), 'closed on all')
  end subroutine refused_openings

  function small_batches() result(options)
    type(climlink_options) :: options

    call options%set('group_size', 0)
    call options%set('micro_batch', 16)
  end function small_batches

  !> Steps with other numbers of columns on every rank and in every step, none among them, as one
  !! network of all and as one of each rank.
  subroutine bits_of(name, options, comm)
    character(len=*), intent(in) :: name
    type(climlink_options), intent(in) :: options
    integer, intent(in) :: comm
    integer, parameter :: counts(6) = [3, 0, 40, 17, 40, 1]
    real(real64), allocatable :: got(:), expected(:)
    integer :: step, n

    call shared%open(fixture(name), status, comm=comm, options=options)
    call check(status%ok(), name // ': open: ' // status%message)
    call alone%open(fixture(name), status)
    call check(status%ok(), name // ': open alone: ' // status%message)
    call check(shared%device() == alone%device(), 'device')
    call check(same_bits(shared%golden_difference(), alone%golden_difference()), &
               'golden difference')
    do step = 1, 12
      n = counts(1 + mod(step + 2 * rank, size(counts)))
      got = answers(shared, n, step)
      expected = answers(alone, n, step)
      call check(size(got) == size(expected), name // ': sizes')
      call check(all(same_bits(got, expected)), name // ': bits')
      if (n > 0) call check(any(abs(got) > 0.0_real64), name // ': answers')
    end do
    call shared%close(status)
    call check(status%ok(), 'close: ' // status%message)
    call alone%close(status)
  end subroutine bits_of

  !> All outputs of n columns in a step.
  function answers(emulator, n, step) result(values)
    type(climlink_emulator), intent(inout) :: emulator
    integer, intent(in) :: n, step
    real(real64), allocatable :: values(:)
    real(real64), allocatable :: field(:, :)
    type(climlink_variable) :: variable
    integer :: i

    allocate (values(0))
    call emulator%begin(n, status)
    do i = 1, emulator%n_input()
      variable = emulator%input(i)
      allocate (field, source=invented(n, variable%width, step + 7 * i))
      call emulator%set(variable%name, field, 1, status)
      call check(status%ok(), 'set: ' // status%message)
      deallocate (field)
    end do
    call emulator%run(status)
    call check(status%ok(), 'run: ' // status%message)
    do i = 1, emulator%n_output()
      variable = emulator%output(i)
      allocate (field(n, variable%width), source=0.0_real64)
      call emulator%get(variable%name, field, 1, status)
      call check(status%ok(), 'get: ' // status%message)
      values = [values, reshape(field, [size(field)])]
      deallocate (field)
    end do
  end function answers

  !> Some numbers [column, level], other ones on every rank.
  pure function invented(n, width, seed) result(field)
    integer, intent(in) :: n, width, seed
    real(real64) :: field(n, width)
    integer :: i, j

    field = reshape([((1.5_real64 + sin(real(i + 13 * j + seed + 101 * rank, real64)), i = 1, n), &
                      j = 1, width)], [n, width])
  end function invented

  !> Communicators of a part of the ranks, as those of a model's component.
  subroutine in_parts_of_the_model()
    type(MPI_Comm) :: part

    call MPI_Comm_split(MPI_COMM_WORLD, mod(rank, 2), -rank, part)
    call bits_of('climsim_random.pt', option('group_size', '0'), part%mpi_val)
  end subroutine in_parts_of_the_model

  subroutine fill(emulator, n, t)
    type(climlink_emulator), intent(inout) :: emulator
    integer, intent(in) :: n
    real(real64), intent(in) :: t
    real(real64) :: profile(n, n_level), scalar(n)

    profile = t
    scalar = 1.0_real64
    call emulator%begin(n, status)
    if (status%ok()) call emulator%set('state_t', profile, 1, status)
    if (status%ok()) call emulator%set('state_q0001', profile, 1, status)
    if (status%ok()) call emulator%set('state_ps', scalar, 1, status)
    if (status%ok()) call emulator%set('pbuf_SOLIN', scalar, 1, status)
  end subroutine fill

  !> Before and after run, and with a failure on the way; every rank gets its own columns'.
  subroutine range_use_of_all()
    real(real64), allocatable :: got(:, :), expected(:, :)
    integer :: n, step

    call shared%open(fixture('ranged.pt'), status, comm=everybody, &
                     options=option('group_size', '0'))
    call alone%open(fixture('ranged.pt'), status)
    do step = 1, 3
      n = mod(rank + step, 3)
      allocate (got(n, 3), expected(n, 3))
      call fill(alone, n, 200.0_real64 + rank)
      call alone%range_use(expected(:, 1), expected(:, 2), expected(:, 3), status)
      call fill(shared, n, 200.0_real64 + rank)
      call shared%range_use(got(:, 1), got(:, 2), got(:, 3), status)
      call check(status%ok() .and. all(same_bits(got, expected)), 'range use: ' // status%message)
      call shared%run(status)
      got = -1.0_real64
      call shared%range_use(got(:, 1), got(:, 2), got(:, 3), status)
      call check(status%ok() .and. all(same_bits(got, expected)), 'after run: ' // status%message)
      if (n > 0) call check(any(expected > 0.0_real64), 'some range use')
      deallocate (got, expected)
    end do
    call shared%close(status)
    call alone%close(status)
  end subroutine range_use_of_all

  subroutine who_is_asked()
    character(len=:), allocatable :: text

    call shared%open(fixture('column.pt'), status, comm=everybody, &
                     options=option('group_size', '2'))
    call check(shared%group_size() == min(2, n_rank - rank / 2 * 2), 'ranks of the group')
    call check(shared%leads_group() .eqv. mod(rank, 2) == 0, 'who leads')
    text = shared%node_memory(everybody)
    call check(index(text, ' rank(s) with a network, up to ') == 2 .and. &
               index(text, ' MB, shared pages once') > 0, 'memory: ' // text)
    call shared%close(status)
    call check(shared%group_size() == 1 .and. .not. shared%leads_group(), 'closed')
    call shared%open(fixture('column.pt'), status, comm=everybody)
    call check(shared%group_size() == 1 .and. shared%leads_group(), 'without a group')
    call shared%close(status)
  end subroutine who_is_asked

  !> What fails on a rank that does not lead is its own matter, in this step.
  subroutine errors_of_one_rank()
    real(real64) :: t(2, n_level)
    type(climlink_host_fields) :: table
    integer :: step
    logical :: fails

    fails = rank == n_rank - 1
    call shared%open(fixture('column.pt'), status, comm=everybody, &
                     options=option('group_size', '0'))
    do step = 1, 5
      call fill(shared, 2, 250.0_real64)
      t = ieee_value(t, ieee_quiet_nan)
      call table%begin(2)
      if (fails .and. step == 1) then
        call shared%set('state_t', t, 1, status)
        call check_error(status, climlink_error_nonfinite, 'state_t: column 1, level 1')
      else if (fails .and. step == 2) then
        call shared%set('state_t', t(1, 1:1), 1, status)    ! refused by the library
        call check_error(status, climlink_error_shape, 'state_t')
      else if (fails .and. step == 3) then
        call shared%set('state_t', [1, 2], 1, status)       ! refused before it
        call check_error(status, climlink_error_shape, 'integer')
      else if (fails .and. step == 4) then
        call table%send(shared, status)                     ! the host's table lacks all
        call check_error(status, climlink_error_variable, 'the host gives no')
      else
        call shared%run(status)
        call check(status%ok(), 'the others go on: ' // status%message)
        call shared%get('ptend_t', t, 1, status)
        call check(status%ok() .and. all(abs(t - 250e-6_real64) < 1e-9_real64), 'values')
      end if
    end do
    call shared%begin(merge(-1, 1, fails), status)
    if (fails) call check_error(status, climlink_error_argument, 'n_column is -1')
    call check(fails .or. status%ok(), 'a count that cannot be, on one rank')
    if (.not. fails) call shared%run(status)
    if (.not. fails) call check_error(status, climlink_error_variable, 'are not set')
    call shared%close(status)
    call check(status%ok(), 'close after errors: ' // status%message)
  end subroutine errors_of_one_rank

  !> The leader's message is told by all; the next step is as if nothing had been.
  subroutine errors_of_the_leader()
    real(real64) :: t(2, n_level)

    call shared%open(fixture('failing.pt'), status, comm=everybody, &
                     options=option('group_size', '0'))
    call fill(shared, 2, merge(2e5_real64, 250.0_real64, rank == n_rank - 1))
    call shared%run(status)
    call check_error(status, climlink_error_backend, 'the network refuses this air')
    if (rank > 0) call check_error(status, climlink_error_backend, 'run: rank 0 (process ')
    if (rank > 0) call check_error(status, climlink_error_backend, &
                                   '), which runs the network of this group, failed: libtorch')
    call fill(shared, 2, merge(2e6_real64, 250.0_real64, rank == 0))
    call shared%run(status)
    call check_error(status, climlink_error_backend, 'memory')
    call fill(shared, 2, 250.0_real64)
    if (rank == 0) then
      t = ieee_value(t, ieee_quiet_nan)
      call shared%set('state_t', t, 1, status)
      call check_error(status, climlink_error_nonfinite, 'state_t: column 1')
    else
      call shared%run(status)
      call check_error(status, climlink_error_nonfinite, 'failed: state_t: column 1, level 1: NaN')
      call shared%get('ptend_t', t, 1, status)
      call check_error(status, climlink_error_state, 'failed')
    end if
    call fill(shared, 2, 250.0_real64)
    if (rank == 0) call shared%leave_step('no sun on this rank')
    if (rank > 0) call shared%run(status)
    if (rank > 0) call check_error(status, climlink_error_state, 'failed: no sun on this rank')
    call fill(shared, 2, 250.0_real64)
    call shared%run(status)
    call check(status%ok(), 'after failures: ' // status%message)
    call shared%close(status)
  end subroutine errors_of_the_leader

  !> Ranks that do not make the same calls are told so, and nobody hangs.
  subroutine other_calls()
    real(real64) :: use(1, 3)

    call shared%open(fixture('ranged.pt'), status, comm=everybody, &
                     options=option('group_size', '0'))
    call fill(shared, 1, 250.0_real64)
    if (rank == 0) call shared%run(status)
    if (rank > 0) call shared%range_use(use(:, 1), use(:, 2), use(:, 3), status)
    call check_error(status, climlink_error_state, 'make the same calls in the same order')
    call fill(shared, 1, 250.0_real64)
    if (rank > 0) call shared%run(status)
    if (rank > 0) call check_error(status, climlink_error_state, 'went on without run')
    call fill(shared, 1, 250.0_real64)
    call shared%run(status)
    call check(status%ok(), 'in order again: ' // status%message)
    call shared%close(status)
    call check(status%ok(), 'close: ' // status%message)
    call MPI_Barrier(MPI_COMM_WORLD)
  end subroutine other_calls

end program test_group
