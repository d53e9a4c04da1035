!> An OpenMP host: its parallel regions have as many threads after every call of climlink and of the
!! drop-ins as before the first. Arguments: folder of the packages, folder of the TorchScript files.
program test_host_threads
  use, intrinsic :: iso_fortran_env, only: real32, real64
  use omp_lib, only: omp_get_max_threads, omp_get_num_threads, omp_set_num_threads
#ifdef CLIMLINK_MPI
  use mpi_f08, only: MPI_COMM_WORLD, MPI_Finalize, MPI_Init
#endif
  use climlink, only: climlink_emulator, climlink_options, climlink_status, climlink_variable
  use ftorch, only: torch_delete, torch_kCPU, torch_model, torch_model_forward, torch_model_load, &
                    torch_tensor, &
                    torch_tensor_from_array
  use test_support, only: check, finish, fixture, n_level, time_step
  implicit none (type, external)

  integer, parameter :: n_column = 7
  integer :: expected
  character(len=1024) :: torchscript_files

  call get_command_argument(2, torchscript_files)
#ifdef CLIMLINK_MPI
  call MPI_Init()
#endif
  expected = omp_get_max_threads()
  call check_threads('before the first call')
  call packages()
  call torchscript()
  ! A count that neither the environment nor libtorch would choose.
  expected = 3
  call omp_set_num_threads(expected)
  call packages()
  call torchscript()
#ifdef CLIMLINK_MPI
  call MPI_Finalize()
#endif
  call finish()

contains

  !> Opens a package, runs a step with the given number of threads inside, closes it.
  subroutine packages()
    type(climlink_emulator) :: emulator
    type(climlink_status) :: status
    real(real64) :: profile(n_column, n_level)
    type(climlink_options) :: options
    type(climlink_variable) :: input
    integer :: i, threads

    profile = 1.0_real64
    do threads = 1, 2
      call options%set('threads', threads)
#ifdef CLIMLINK_MPI
      call emulator%open(fixture('column.pt'), status, comm=MPI_COMM_WORLD%mpi_val, &
                         n_level=n_level, time_step=time_step, options=options)
#else
      call emulator%open(fixture('column.pt'), status, n_level=n_level, time_step=time_step, &
                         options=options)
#endif
      call check(status%ok(), 'open: ' // status%message)
      call check_threads('after open')
      call emulator%begin(n_column, status)
      do i = 1, emulator%n_input()
        input = emulator%input(i)
        call emulator%set(input%name, profile(:, :input%width), 1, status)
      end do
      call emulator%run(status)
      call check(status%ok(), 'run: ' // status%message)
      call check_threads('after run')
      call emulator%get('ptend_t', profile, 1, status)
      call emulator%close(status)
      call check(status%ok(), 'close: ' // status%message)
      call check_threads('after close')
      profile = 1.0_real64
      call emulator%open(fixture('truncated.pt'), status)
      call check(.not. status%ok(), 'a truncated package is refused')
      call check_threads('after a package that is refused')
    end do
  end subroutine packages

  subroutine torchscript()
    type(torch_model) :: model
    type(torch_tensor) :: inputs(1), outputs(1)
    real(real32), target :: x(n_column, 124), y(n_column, 37)

    x = 0.5_real32
    call torch_model_load(model, trim(torchscript_files) // '/mlp.pt', torch_kCPU)
    call check_threads('after torch_model_load')
    call torch_tensor_from_array(inputs(1), x, torch_kCPU)
    call torch_tensor_from_array(outputs(1), y, torch_kCPU)
    call torch_model_forward(model, inputs, outputs)
    call check_threads('after torch_model_forward')
    call torch_delete(inputs)
    call torch_delete(outputs)
    call torch_delete(model)
    call check_threads('after torch_delete')
  end subroutine torchscript

  subroutine check_threads(when)
    character(len=*), intent(in) :: when
    character(len=96) :: found
    integer :: team

    team = 0
    !$omp parallel
    !$omp single
    team = omp_get_num_threads()
    !$omp end single
    !$omp end parallel
    write (found, '(3(a,i0))') ': omp_get_max_threads ', omp_get_max_threads(), ', team of ', &
           team, '; expected ', expected
    call check(omp_get_max_threads() == expected .and. team == expected, when // trim(found))
  end subroutine check_threads

end program test_host_threads
