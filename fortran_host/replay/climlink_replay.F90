!> Replays real ClimSim snapshots through a package, under MPI, as a model would.
!!
!!     mpirun -np 2 climlink-replay NAMELIST
!!     climlink-replay --list-settings
!!
!! Each mli file is one step: its columns are split over the ranks and into chunks of pcols columns,
!! bound to the package by name, run, and the tendencies applied over one time step; the result is a
!! file in the mlo format. A package with memory keeps it over files that are one time step apart.
!! Settings: replay_config.F90. Exit code 0, or 1 on failure, or 2 on wrong usage; a failed step
!! leaves no file.
program climlink_replay
  use, intrinsic :: iso_fortran_env, only: output_unit, real64
  use mpi_f08, only: MPI_Wtime
  use climlink, only: climlink_emulator, climlink_options, climlink_status
  use climsim_files, only: climsim_file, open_climsim_file, read_hybrid_midpoints
  use replay_config, only: base_name, list_settings, output_path, read_settings, replay_settings
  use replay_coupling, only: run_step, step_seconds
  use replay_fields, only: snapshot_fields
  use replay_memory, only: carried_memory
  use replay_output, only: write_mlo
  use netcdf_files, only: close_file
  use host_lock, only: hold_folder
  use host_provenance, only: new_provenance
  use host_parallel, only: end_parallel, maxima_over_ranks, n_rank, only_argument, rank, require, &
                           share_of, start_parallel, world
  implicit none (type, external)

  type(replay_settings) :: settings
  type(climlink_emulator) :: emulator
  type(climlink_status) :: status
  type(carried_memory) :: memory
  type(snapshot_fields), target :: fields
  type(step_seconds) :: seconds
  real(real64) :: reading, writing
  character(len=:), allocatable :: argument, error
  integer :: step, n_column

  call start_parallel('climlink-replay')
  argument = only_argument()
  if (argument == '--list-settings') then
    if (rank == 0) call list_settings(output_unit)
    call end_parallel()
    stop
  end if
  call read_settings(argument, settings, error)
  call require(error)
  call hold_folder(trim(settings%replay%lock_file), error)
  call require(error)
  call open_package()
  reading = 0.0_real64
  writing = 0.0_real64
  n_column = 0
  do step = 1, size(settings%files)
    call replay_file(settings%files(step)%path)
    if (rank == 0) then
      write (output_unit, '(a,i0,a,i0,3a)') 'climlink-replay: step ', step, ' of ', &
        size(settings%files), ' ', base_name(settings%files(step)%path), memory%remark()
      flush (output_unit)
    end if
  end do
  call report_memory()
  call emulator%close(status)
  call report_times()
  call end_parallel()

contains

  !> The levels of the first file are the host's claim against the package.
  subroutine open_package()
    type(climsim_file) :: file
    type(climlink_options) :: options
    integer :: first, count

    call open_climsim_file(settings%files(1)%path, file, error)
    call require(error)
    options = settings%emulator%entries%options()
    call share_of(file%n_column, first, count)
    call options%set('column_count', count)
    call emulator%open(trim(settings%emulator%entries%package), status, comm=world, &
                       n_level=file%n_level, time_step=settings%replay%time_step_s, options=options)
    if (status%ok()) call emulator%require_columns(status)
    if (.not. status%ok()) error = status%message
    call require(error)
    if (rank == 0 .and. len(emulator%engine_note()) > 0) write (output_unit, '(4a)') &
      'climlink-replay: ', emulator%engine(), ' runs: ', emulator%engine_note()
    call close_file(file, error)
    associate (grid_file => settings%replay%grid_file)
      if (len(error) == 0 .and. len_trim(grid_file) > 0) then
        call read_hybrid_midpoints(trim(grid_file), fields%hybrid, error)
        if (len(error) == 0) call check_levels(trim(grid_file), size(fields%hybrid%hyam))
      end if
    end associate
    call require(error)
  end subroutine open_package

  subroutine replay_file(path)
    character(len=*), intent(in) :: path
    type(climsim_file) :: file
    real(real64) :: start
    integer :: first, count

    start = MPI_Wtime()
    call open_climsim_file(path, file, error)
    if (len(error) == 0) call check_levels(path, file%n_level)
    if (len(error) == 0) then
      call share_of(file%n_column, first, count)
      call fields%read_snapshot(file, emulator, first, count, error)
    end if
    if (len(error) == 0) then
      call memory%follow(emulator, file, count, settings%replay%time_step_s, error)
    end if
    call require(error)
    n_column = n_column + file%n_column
    reading = reading + MPI_Wtime() - start

    call run_step(emulator, memory%state, fields, settings%replay%pcols, &
                  settings%replay%time_step_s, seconds, error)
    if (len(error) > 0) error = path // ': ' // error
    call require(error)

    start = MPI_Wtime()
    call write_mlo(output_path(settings, path), file, fields%written, &
                   new_provenance(trim(settings%replay%created), &
                                  trim(settings%emulator%entries%package_name), &
                                  emulator%digest(), emulator%constraints_off()), &
                   memory%origin, error)
    call require(error)
    call close_file(file, error)
    call require(error)
    writing = writing + MPI_Wtime() - start
  end subroutine replay_file

  !> All files, and the grid file if there is one, have the package's levels.
  subroutine check_levels(path, n_level)
    character(len=*), intent(in) :: path
    integer, intent(in) :: n_level
    character(len=80) :: text
    integer :: needed

    needed = emulator%level_count()
    if (n_level == needed) return
    write (text, '(a,i0,a,i0)') 'dimension lev has ', n_level, ' levels; the package needs ', needed
    error = path // ': ' // trim(text)
  end subroutine check_levels

  !> One line where ranks share a network.
  subroutine report_memory()
    character(len=:), allocatable :: memory

    if (settings%emulator%entries%group_size == 1) return
    allocate (memory, source=emulator%node_memory(world))
    if (rank == 0) write (output_unit, '(2a)') 'climlink-replay: node of rank 0: ', memory
  end subroutine report_memory

  subroutine report_times()
    character(len=*), parameter :: parts(5) = [character(len=7) :: 'read', 'pack', 'forward', &
      'unpack', 'write']
    character(len=12) :: number
    character(len=:), allocatable :: line
    real(real64) :: times(size(parts))
    integer :: i

    times = [reading, seconds%pack, seconds%forward, seconds%unpack, writing]
    call maxima_over_ranks(times)
    if (rank > 0) return
    line = ''
    do i = 1, size(parts)
      write (number, '(f12.3)') times(i)
      line = line // ', ' // trim(parts(i)) // ' ' // trim(adjustl(number))
    end do
    write (output_unit, '(3(a,i0),2a)') 'climlink-replay: done: files ', size(settings%files), &
      ', columns ', n_column, ', ranks ', n_rank, '; seconds: ', line(3:)
  end subroutine report_times

end program climlink_replay
