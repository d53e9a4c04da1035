!> How a model uses climlink: columns split over ranks, chunk arrays of pcols columns with a shorter
!! last chunk, one run per rank and step.
program chunks_and_mpi
  use, intrinsic :: iso_fortran_env, only: output_unit, r8 => real64
  use mpi_f08, only: MPI_Comm_rank, MPI_Comm_size, MPI_COMM_WORLD, MPI_Finalize, MPI_Init
  use climlink, only: climlink_emulator, climlink_host_fields
  implicit none (type, external)

  integer, parameter :: n_global = 20, pcols = 8, n_level = 6, n_step = 3
  real(r8), parameter :: time_step = 1200.0_r8

  !> What a model keeps per chunk; only the first ncol columns are valid.
  type :: chunk
    integer :: first = 1                      !! Position of the chunk's first column on this rank.
    integer :: ncol = 0
    real(r8) :: t(pcols, n_level) = 280.0_r8
    real(r8) :: q(pcols, n_level) = 5e-3_r8
    real(r8) :: ps(pcols) = 1e5_r8
    real(r8) :: solar(pcols) = 400.0_r8
    real(r8) :: dtdt(pcols, n_level) = 0.0_r8
    real(r8) :: dqdt(pcols, n_level) = 0.0_r8
  end type chunk

  type(climlink_emulator) :: emu
  type(climlink_host_fields) :: fields
  type(chunk), allocatable, target :: chunks(:)
  type(chunk), target :: spare           !! For the check: a rank may have no chunk.
  character(len=1024) :: package
  integer :: rank, n_rank, n_column, step, c

  call MPI_Init()
  call MPI_Comm_rank(MPI_COMM_WORLD, rank)
  call MPI_Comm_size(MPI_COMM_WORLD, n_rank)
  call get_command_argument(1, package)
  n_column = n_global / n_rank + merge(1, 0, rank < mod(n_global, n_rank))
  allocate (chunks((n_column + pcols - 1) / pcols))
  do c = 1, size(chunks)
    chunks(c)%first = (c - 1) * pcols + 1
    chunks(c)%ncol = min(pcols, n_column - chunks(c)%first + 1)
  end do

  ! One rank reads the file, all receive it.
  call emu%open(package, comm=MPI_COMM_WORLD%mpi_val, n_level=n_level, time_step=time_step)
  call declare(spare)
  call fields%check(emu)
  do step = 1, n_step
    call emu%begin(n_column)
    do c = 1, size(chunks)
      call declare(chunks(c))
      call fields%send(emu, first_sample=chunks(c)%first)
    end do
    call emu%run()
    do c = 1, size(chunks)
      call declare(chunks(c))
      call fields%receive(emu, first_sample=chunks(c)%first)
      chunks(c)%t = chunks(c)%t + time_step * chunks(c)%dtdt
      chunks(c)%q = chunks(c)%q + time_step * chunks(c)%dqdt
    end do
  end do
  call emu%close()
  if (rank == 0) write (output_unit, '(a,f9.3,a)') 'temperature after three steps:', &
    chunks(1)%t(1, 1), ' K'
  call MPI_Finalize()

contains

  !> The table of one chunk: made anew for each, as its arrays are elsewhere.
  subroutine declare(state)
    type(chunk), target, intent(in) :: state

    call fields%begin(state%ncol)
    call fields%add_profile('state_t', 'K', state%t)
    call fields%add_profile('state_q0001', 'kg/kg', state%q)
    call fields%add_scalar('state_ps', 'Pa', state%ps)
    call fields%add_scalar('pbuf_SOLIN', 'W/m2', state%solar)
    call fields%add_profile('ptend_t', 'K/s', state%dtdt, taken=.true.)
    call fields%add_profile('ptend_q0001', 'kg/kg/s', state%dqdt, taken=.true.)
  end subroutine declare

end program chunks_and_mpi
