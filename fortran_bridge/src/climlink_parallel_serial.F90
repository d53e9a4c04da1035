!> climlink_parallel without MPI: one process, and every communicator is refused.
submodule(climlink_parallel) climlink_parallel_serial
  use, intrinsic :: iso_fortran_env, only: error_unit
  use climlink_errors, only: climlink_error_argument, failure
  implicit none (type, external)

contains

  module procedure mpi_runs
    runs = .false.
  end procedure mpi_runs

  module procedure process_rank
    rank = 0
  end procedure process_rank

  module procedure communicator_rank
    rank = 0
  end procedure communicator_rank

  module procedure check_communicator
    character(len=12) :: handle

    write (handle, '(i0)') comm
    status = failure(climlink_error_argument, 0, 'open: the communicator ' // trim(handle) &
                     // ' was given, but this climlink was built without MPI; build it with ' // &
                     '-DCLIMLINK_MPI=ON, or leave out comm')
  end procedure check_communicator

  ! check_communicator lets no communicator pass; one process alone agrees with itself and has
  ! nothing to send.
  module procedure agree
  end procedure agree

  module procedure node_rank
    rank = 0
  end procedure node_rank

  module procedure broadcast_count
  end procedure broadcast_count

  module procedure broadcast_bytes
  end procedure broadcast_bytes

  module procedure stop_program
    write (error_unit, '(a)') 'climlink: ' // message
    flush (error_unit)
    error stop 1
  end procedure stop_program

end submodule climlink_parallel_serial
