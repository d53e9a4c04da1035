!> A host whose thread runtime (other_runtime.c) comes before libtorch's: libtorch sets its numbers,
!! and the host finds its own again. Arguments: folder of the packages, folder of the TorchScript
!! files.
program test_other_runtime
  use, intrinsic :: iso_c_binding, only: c_int
  use, intrinsic :: iso_fortran_env, only: real32
  use climlink, only: climlink_emulator, climlink_status
  use ftorch, only: torch_kCPU, torch_model, torch_model_forward, torch_model_load, torch_tensor, &
                    torch_tensor_from_array
  use test_support, only: check, finish, fixture, n_level, time_step
  implicit none (type, external)

  interface
    function omp_get_max_threads() result(threads) bind(c)
      import :: c_int
      implicit none (type, external)
      integer(c_int) :: threads
    end function omp_get_max_threads

    function mkl_thread_count() result(threads) bind(c)
      import :: c_int
      implicit none (type, external)
      integer(c_int) :: threads
    end function mkl_thread_count

    function changes() result(number) bind(c)
      import :: c_int
      implicit none (type, external)
      integer(c_int) :: number
    end function changes
  end interface

  type(climlink_emulator) :: emulator
  type(climlink_status) :: status
  type(torch_model) :: model
  type(torch_tensor) :: inputs(1), outputs(1)
  real(real32), target :: x(4, 5), y(4, 5)
  character(len=1024) :: torchscript_files

  call get_command_argument(2, torchscript_files)
  call emulator%open(fixture('column.pt'), status, n_level=n_level, time_step=time_step)
  call check(status%ok(), 'open: ' // status%message)
  call check(changes() > 0, &
             'libtorch has set numbers of the host''s runtime, so this test can fail')
  call check_threads('open')
  call emulator%close(status)
  call check_threads('close')
  x = 1.0_real32
  call torch_model_load(model, trim(torchscript_files) // '/twice.pt', torch_kCPU)
  call torch_tensor_from_array(inputs(1), x, torch_kCPU)
  call torch_tensor_from_array(outputs(1), y, torch_kCPU)
  call torch_model_forward(model, inputs, outputs)
  call check(all(abs(y - 2.0_real32) < 1e-6_real32), 'the model''s answer')
  call check_threads('torch_model_forward')
  call finish()

contains

  subroutine check_threads(after)
    character(len=*), intent(in) :: after
    character(len=80) :: found

    write (found, '(2(a,i0))') ': expected 5 OpenMP and 6 MKL threads, found ', &
           omp_get_max_threads(), ' and ', mkl_thread_count()
    call check(omp_get_max_threads() == 5 .and. mkl_thread_count() == 6, 'after ' // after &
               // trim(found))
  end subroutine check_threads

end program test_other_runtime
