!> Times the opening of a package and its steps in one process, and watches its memory:
!!
!!     step_bench PACKAGE ROWS COLUMNS CHUNK STEPS [ARTEFACT SHA256]
!!
!! Writes `engine NAME`; `opened SECONDS BEFORE AFTER`, resident bytes; `step SEND RUN RECEIVE`,
!! the processor's seconds of each of the first steps, in which what else the machine does is not;
!! `resident STEP BYTES`, from the hundredth step on.
program step_bench
  use, intrinsic :: iso_c_binding, only: c_int, c_int64_t
  use, intrinsic :: iso_fortran_env, only: int64, output_unit, real64
  use bench_host, only: bench_columns, chosen_engine, whole_argument
  use climlink, only: climlink_emulator
  implicit none (type, external)

  interface
    function climlink_process_memory(resident, share) result(status) bind(c)
      import :: c_int, c_int64_t
      implicit none (type, external)
      integer(c_int64_t), intent(out) :: resident, share
      integer(c_int) :: status
    end function climlink_process_memory
  end interface

  integer, parameter :: told = 1000, settled = 100, watched = 10
  type(climlink_emulator) :: emulator
  type(bench_columns) :: columns
  character(len=4096) :: package, rows
  integer(c_int64_t) :: before
  integer :: n_step, step
  real(real64) :: at(4)

  call get_command_argument(1, package)
  call get_command_argument(2, rows)
  n_step = whole_argument(5)
  before = resident()
  at(1) = now()
  call emulator%open(trim(package), options=chosen_engine(6))
  at(2) = now()
  write (output_unit, '(2a)') 'engine ', emulator%engine()
  write (output_unit, '(a, es16.8, 2(1x, i0))') 'opened', at(2) - at(1), before, resident()
  call columns%read_rows(emulator, trim(rows), whole_argument(3), whole_argument(4))
  do step = 1, n_step
    call cpu_time(at(1))
    call columns%send(emulator)
    call cpu_time(at(2))
    call emulator%run()
    call cpu_time(at(3))
    call columns%receive(emulator)
    call cpu_time(at(4))
    if (step <= told) write (output_unit, '(a, 3es16.8)') 'step', at(2:4) - at(1:3)
    if (step == settled .or. mod(step, max(1, n_step / watched)) == 0) then
      write (output_unit, '(a, 2(1x, i0))') 'resident', step, resident()
    end if
  end do

contains

  function now() result(seconds)
    real(real64) :: seconds
    integer(int64) :: count, rate

    call system_clock(count, rate)
    seconds = real(count, real64) / real(rate, real64)
  end function now

  function resident() result(bytes)
    integer(c_int64_t) :: bytes, share

    if (climlink_process_memory(bytes, share) /= 0) error stop 'memory of the process is not known'
  end function resident

end program step_bench
