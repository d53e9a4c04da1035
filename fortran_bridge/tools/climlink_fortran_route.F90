!> Sends packed rows through the Fortran module under MPI, the way a model would: every variable by
!! name, by index [sample, dims...], chunk by chunk, in real64. A row is a column, a land cell or a
!! field.
!!
!!     mpirun -np 2 climlink-fortran-route [--trust-code] [--group-size N] &
!!       [--device DEVICE] [--compiled ARTEFACT SHA256] PACKAGE INPUT.f32 N_COLUMN OUTPUT.f32 &
!!       [PCOLS [CONSTRAINTS_OFF]]
!!
!! INPUT.f32 and OUTPUT.f32 are raw little-endian float32, C order, [N_COLUMN, n_input] and
!! [N_COLUMN, n_output]. Each rank takes a contiguous block of rows (possibly none) and cuts it into
!! chunks of PCOLS rows (default 16) with a shorter last one. CONSTRAINTS_OFF are names of
!! constraints to leave out, separated by commas. --trust-code leaves out the check of what the
!! graph may do; --group-size N lets N ranks share one network; --device is where it runs, cpu if
!! not given; --compiled runs a compiled artefact and fails where it cannot. `climlink verify`
!! compares OUTPUT.f32 with the other routes. Exit code 0, or 1 on failure, or 2 on wrong usage.
program climlink_fortran_route
  use, intrinsic :: iso_fortran_env, only: error_unit, real32
  use mpi_f08, only: MPI_Abort, MPI_Comm_rank, MPI_Comm_size, MPI_COMM_WORLD, MPI_Finalize, &
                     MPI_Init, MPI_REAL4, MPI_Recv, MPI_Send, MPI_STATUS_IGNORE
  use climlink, only: climlink_emulator, climlink_options, climlink_status, climlink_variable
  use climlink_files, only: remove_file, replace_file
  use climlink_queries, only: inputs_of, outputs_of
  use packed_chunks, only: get_chunk, set_chunk
  use raw_rows, only: check_size, read_rows, rows_of_rank, write_rows
  implicit none (type, external)

  character(len=*), parameter :: usage = &
    'usage: climlink-fortran-route [--trust-code] [--group-size N] ' // &
    '[--device DEVICE] [--compiled ARTEFACT SHA256] ' // &
    'PACKAGE INPUT.f32 N_COLUMN OUTPUT.f32 [PCOLS [CONSTRAINTS_OFF]]'
  integer, parameter :: default_chunk = 16

  type(climlink_emulator), target :: emulator
  type(climlink_options) :: options
  type(climlink_variable), pointer :: input_list(:), output_list(:)
  character(len=:), allocatable :: package_path, input_path, output_path, constraints_off, error, &
                                   device, compiled, compiled_sha256
  integer :: n_column, pcols, group_size, rank, n_rank, first, count
  logical :: trust_code
  real(real32), allocatable :: inputs(:, :), outputs(:, :)

  call MPI_Init()
  call MPI_Comm_rank(MPI_COMM_WORLD, rank)
  call MPI_Comm_size(MPI_COMM_WORLD, n_rank)
  call read_arguments()
  call options%set('constraints_off', constraints_off)
  call options%set('trust_code', trust_code)
  call options%set('group_size', group_size)
  call options%set('device', device)
  call options%set('compiled', compiled)
  call options%set('compiled_sha256', compiled_sha256)
  call emulator%open(package_path, comm=MPI_COMM_WORLD%mpi_val, options=options)
  if (len(compiled) > 0 .and. emulator%engine() /= 'aotinductor') then
    call give_up(emulator%engine_note(), 1)
  end if

  input_list => inputs_of(emulator)
  output_list => outputs_of(emulator)
  allocate (inputs(sum(input_list%width), 0), outputs(sum(output_list%width), 0))
  call check_size(input_path, size(inputs, 1), n_column, error)
  call require(error)
  call rows_of_rank(n_column, rank, n_rank, first, count)
  call resize(inputs, count)
  call resize(outputs, count)
  call read_rows(input_path, first, inputs, error)
  call require(error)

  call emulator%begin(count)
  call set_all()
  call emulator%run()
  call get_all()
  call emulator%close()
  call write_in_order()
  call MPI_Finalize()

contains

  subroutine read_arguments()
    integer :: n, o

    o = 0
    trust_code = argument(1) == '--trust-code'
    if (trust_code) o = 1
    group_size = 1
    if (argument(o + 1) == '--group-size') then
      group_size = number(argument(o + 2), 'N', 0)
      o = o + 2
    end if
    device = 'cpu'
    if (argument(o + 1) == '--device') then
      device = argument(o + 2)
      o = o + 2
    end if
    compiled = ''
    compiled_sha256 = ''
    if (argument(o + 1) == '--compiled') then
      compiled = argument(o + 2)
      compiled_sha256 = argument(o + 3)
      o = o + 3
    end if
    n = command_argument_count() - o
    if (n < 4 .or. n > 6) call give_up(usage, 2)
    package_path = argument(o + 1)
    input_path = argument(o + 2)
    n_column = number(argument(o + 3), 'N_COLUMN', 0)
    output_path = argument(o + 4)
    pcols = default_chunk
    constraints_off = ''
    if (n >= 5) pcols = number(argument(o + 5), 'PCOLS', 1)
    if (n == 6) constraints_off = argument(o + 6)
  end subroutine read_arguments

  function argument(i) result(text)
    integer, intent(in) :: i
    character(len=:), allocatable :: text
    integer :: length

    call get_command_argument(i, length=length)
    allocate (character(len=length) :: text)
    call get_command_argument(i, text)
  end function argument

  function number(text, name, least) result(value)
    character(len=*), intent(in) :: text, name
    integer, intent(in) :: least
    integer :: value, failed

    read (text, *, iostat=failed) value
    if (failed /= 0) value = least - 1
    if (value < least) call give_up(name // ' must be a whole number, not too small; it is ' &
                                    // text // '. ' // usage, 2)
  end function number

  subroutine resize(rows, n)
    real(real32), allocatable, intent(inout) :: rows(:, :)
    integer, intent(in) :: n
    integer :: width

    width = size(rows, 1)
    deallocate (rows)
    allocate (rows(width, n))
  end subroutine resize

  subroutine set_all()
    integer :: i, from, to, start, next

    start = 1
    do i = 1, size(input_list)
      next = start + input_list(i)%width
      do from = 1, count, pcols
        to = min(from + pcols - 1, count)
        call set_chunk(emulator, input_list(i), inputs(start:next - 1, from:to), from, pcols)
      end do
      start = next
    end do
  end subroutine set_all

  subroutine get_all()
    integer :: i, from, to, start, next

    start = 1
    do i = 1, size(output_list)
      next = start + output_list(i)%width
      do from = 1, count, pcols
        to = min(from + pcols - 1, count)
        call get_chunk(emulator, output_list(i), outputs(start:next - 1, from:to), from, pcols)
      end do
      start = next
    end do
  end subroutine get_all

  !> Rank 0 receives the blocks in rank order and writes them beside the output file, which appears
  !! whole or not at all.
  subroutine write_in_order()
    character(len=:), allocatable :: temporary
    character(len=256) :: message
    type(climlink_status) :: status
    integer :: unit, failed, source, block_first, block_count

    if (rank > 0) then
      call MPI_Send(outputs, size(outputs), MPI_REAL4, 0, 0, MPI_COMM_WORLD)
      return
    end if
    temporary = output_path // '.part'
    open (newunit=unit, file=temporary, access='stream', form='unformatted', status='replace', &
          action='write', iostat=failed, iomsg=message)
    if (failed /= 0) call give_up(output_path // ': ' // trim(message), 1)
    do source = 0, n_rank - 1
      if (source > 0) then
        call rows_of_rank(n_column, source, n_rank, block_first, block_count)
        call resize(outputs, block_count)
        call MPI_Recv(outputs, size(outputs), MPI_REAL4, source, 0, MPI_COMM_WORLD, &
                      MPI_STATUS_IGNORE)
      end if
      call write_rows(unit, outputs, error)
      if (len(error) > 0) exit
    end do
    close (unit, iostat=failed, iomsg=message)
    if (failed /= 0 .and. len(error) == 0) error = trim(message)
    if (len(error) == 0) then
      call replace_file(temporary, output_path, status)
      if (.not. status%ok()) error = status%message
    end if
    if (len(error) > 0) then
      call remove_file(temporary)
      call give_up(output_path // ': ' // error, 1)
    end if
  end subroutine write_in_order

  subroutine require(problem)
    character(len=*), intent(in) :: problem

    if (len(problem) > 0) call give_up(problem, 1)
  end subroutine require

  subroutine give_up(message, exit_code)
    character(len=*), intent(in) :: message
    integer, intent(in) :: exit_code

    write (error_unit, '(a,i0,2a)') 'climlink-fortran-route: rank ', rank, ': ', message
    flush (error_unit)
    call MPI_Abort(MPI_COMM_WORLD, exit_code)
    stop 1
  end subroutine give_up

end program climlink_fortran_route
