!> What a host of the benchmarks keeps: its variables in real64 arrays of their own, chunk by chunk
!! as climate models have them, filled from a file of packed float32 rows.
module bench_host
  use, intrinsic :: iso_fortran_env, only: error_unit, real32, real64
  use climlink, only: climlink_emulator, climlink_options, climlink_variable
  implicit none (type, external)
  private

  public :: bench_columns, bench_variable, chosen_engine, whole_argument

  !> One variable of all columns, and where it stands in a packed row.
  type :: bench_variable
    character(len=:), allocatable :: name
    integer :: offset = 0                          !! Values before it in a row.
    integer :: width = 0
    real(real64), allocatable :: values(:, :, :)   !! [column of a chunk, value, chunk]
  end type bench_variable

  !> All columns of a rank.
  type :: bench_columns
    integer :: n_column = 0
    integer :: chunk = 0
    integer :: n_chunk = 0
    type(bench_variable), allocatable :: inputs(:), outputs(:)
  contains
    procedure :: read_rows, send, receive
  end type bench_columns

contains

  !> Takes the variables of an emulator and their values from a file of packed float32 rows,
  !! [n_input, column] in Fortran's order.
  subroutine read_rows(self, emulator, path, n_column, chunk)
    class(bench_columns), intent(inout) :: self
    type(climlink_emulator), intent(in) :: emulator
    character(len=*), intent(in) :: path
    integer, intent(in) :: n_column, chunk
    type(climlink_variable) :: variable
    real(real32), allocatable :: rows(:, :)
    integer :: unit, v, last, i, k

    if (mod(n_column, chunk) /= 0) then
      write (error_unit, '(a, i0, a, i0)') 'chunks of ', chunk, ' do not divide ', n_column
      error stop 1
    end if
    self%n_column = n_column
    self%chunk = chunk
    self%n_chunk = n_column / chunk
    allocate (self%inputs(emulator%n_input()), self%outputs(emulator%n_output()))
    do v = 1, size(self%inputs)
      variable = emulator%input(v)
      call describe(self, self%inputs(1:v), variable)
    end do
    do v = 1, size(self%outputs)
      variable = emulator%output(v)
      call describe(self, self%outputs(1:v), variable)
    end do
    last = size(self%inputs)
    allocate (rows(self%inputs(last)%offset + self%inputs(last)%width, n_column))
    open (newunit=unit, file=path, access='stream', form='unformatted', action='read', status='old')
    read (unit) rows
    close (unit)
    do v = 1, last
      associate (variable => self%inputs(v))
        do k = 1, self%n_chunk
          do i = 1, chunk
            variable%values(i, :, k) = rows(variable%offset + 1:variable%offset + variable%width, &
                                            (k - 1) * chunk + i)
          end do
        end do
      end associate
    end do
  end subroutine read_rows

  !> Describes the last of some variables, which stands behind the others in a row.
  subroutine describe(columns, kept, variable)
    class(bench_columns), intent(in) :: columns
    type(bench_variable), intent(inout) :: kept(:)
    type(climlink_variable), intent(in) :: variable
    integer :: v

    v = size(kept)
    kept(v)%name = trim(variable%name)
    kept(v)%offset = sum(kept(1:v - 1)%width)
    kept(v)%width = variable%width
    allocate (kept(v)%values(columns%chunk, variable%width, columns%n_chunk), source=0.0_real64)
  end subroutine describe

  !> Begins a step and sets every input, chunk by chunk.
  subroutine send(self, emulator)
    class(bench_columns), intent(in) :: self
    type(climlink_emulator), intent(inout) :: emulator
    integer :: v, k

    call emulator%begin(self%n_column)
    do k = 1, self%n_chunk
      do v = 1, size(self%inputs)
        call emulator%set(self%inputs(v)%name, self%inputs(v)%values(:, :, k), &
                          (k - 1) * self%chunk + 1)
      end do
    end do
  end subroutine send

  !> Gets every output, chunk by chunk.
  subroutine receive(self, emulator)
    class(bench_columns), intent(inout) :: self
    type(climlink_emulator), intent(inout) :: emulator
    integer :: v, k

    do k = 1, self%n_chunk
      do v = 1, size(self%outputs)
        call emulator%get(self%outputs(v)%name, self%outputs(v)%values(:, :, k), &
                          (k - 1) * self%chunk + 1)
      end do
    end do
  end subroutine receive

  !> The options that run the artefact which the command line names, from argument `first` on, with
  !! its SHA-256; those of TorchScript where it names none. Batches are those of
  !! benchmarks/inference_timing.py.
  function chosen_engine(first) result(options)
    integer, intent(in) :: first
    type(climlink_options) :: options
    character(len=4096) :: artefact, digest

    call options%set('micro_batch', 192)
    if (command_argument_count() < first) return
    call get_command_argument(first, artefact)
    call get_command_argument(first + 1, digest)
    call options%set('compiled', trim(artefact))
    call options%set('compiled_sha256', trim(digest))
  end function chosen_engine

  !> A whole number on the command line.
  function whole_argument(i) result(value)
    integer, intent(in) :: i
    integer :: value
    character(len=32) :: text

    call get_command_argument(i, text)
    read (text, *) value
  end function whole_argument

end module bench_host
