!> Binds the variables of a snapshot to a package by name, runs it, and applies its tendencies over
!! one time step.
module replay_coupling
  use, intrinsic :: iso_fortran_env, only: real64
  use mpi_f08, only: MPI_Wtime
  use climlink, only: climlink_emulator, climlink_status
  use climlink_carried_state, only: climlink_carried
  use climsim_files, only: climsim_field, climsim_file, field_index, has_variable, &
                           hybrid_midpoints, read_field
  use climlink_humidity, only: pressure_at_midpoints, relative_humidity
  implicit none (type, external)
  private

  public :: check_outputs, find_inputs, read_fields, run_step, step_seconds

  integer, parameter :: name_length = 32

  !> One prognostic variable of the host: what changes it, and in which units.
  type :: prognostic
    character(len=name_length) :: state
    character(len=name_length) :: tendency
    character(len=name_length) :: tendency_units
  end type prognostic

  !> One diagnostic that the package gives and the file keeps as it is.
  type :: diagnostic
    character(len=name_length) :: name
    character(len=name_length) :: units
  end type diagnostic

  !> In the order of the mlo files.
  type(prognostic), parameter :: prognostics(6) = [ &
    prognostic('state_q0001', 'ptend_q0001', 'kg/kg/s'), &
    prognostic('state_q0002', 'ptend_q0002', 'kg/kg/s'), &
    prognostic('state_q0003', 'ptend_q0003', 'kg/kg/s'), prognostic('state_t', 'ptend_t', 'K/s'), &
    prognostic('state_u', 'ptend_u', 'm/s2'), prognostic('state_v', 'ptend_v', 'm/s2')]
  type(diagnostic), parameter :: diagnostics(8) = [ &
    diagnostic('cam_out_FLWDS', 'W/m2'), diagnostic('cam_out_NETSW', 'W/m2'), &
    diagnostic('cam_out_PRECC', 'm/s'), diagnostic('cam_out_PRECSC', 'm/s'), &
    diagnostic('cam_out_SOLL', 'W/m2'), diagnostic('cam_out_SOLLD', 'W/m2'), &
    diagnostic('cam_out_SOLS', 'W/m2'), diagnostic('cam_out_SOLSD', 'W/m2')]

  character(len=*), parameter :: humidity = 'state_rh'

  !> Seconds spent in the parts of a step.
  type :: step_seconds
    real(real64) :: pack = 0.0_real64
    real(real64) :: forward = 0.0_real64
    real(real64) :: unpack = 0.0_real64
  end type step_seconds

contains

  !> error is '' if the package gives everything that an mlo file holds.
  function check_outputs(emulator, package) result(error)
    type(climlink_emulator), intent(in) :: emulator
    character(len=*), intent(in) :: package
    character(len=:), allocatable :: error
    integer :: i

    error = ''
    do i = 1, size(prognostics)
      if (.not. emulator%has_output(prognostics(i)%tendency)) error = error // ', ' &
        // trim(prognostics(i)%tendency)
    end do
    do i = 1, size(diagnostics)
      if (.not. emulator%has_output(diagnostics(i)%name)) error = error // ', ' &
        // trim(diagnostics(i)%name)
    end do
    if (len(error) > 0) error = package // ': the package lacks outputs that an mlo file needs: ' &
      // error(3:)
  end function check_outputs

  !> The names of the variables to read from a file: inputs of the package, what they are derived
  !! from, and the state.
  subroutine find_inputs(emulator, carried, file, has_grid, names, error)
    type(climlink_emulator), intent(in) :: emulator
    type(climlink_carried), intent(in) :: carried  !! Keeps what is not read.
    type(climsim_file), intent(in) :: file
    logical, intent(in) :: has_grid   !! Pressure comes from hybrid coefficients, not from the file.
    character(len=name_length), allocatable, intent(out) :: names(:)
    character(len=:), allocatable, intent(out) :: error
    character(len=:), allocatable :: name, doubled
    integer :: i

    error = ''
    doubled = ''
    allocate (names(0))
    do i = 1, size(prognostics)
      call add(names, prognostics(i)%state)
    end do
    do i = 1, emulator%n_input()
      name = emulator%input_name(i)
      if (carried%owns(name)) then
        if (name == humidity .or. has_variable(file, name)) doubled = doubled // ' ' // name
      else if (name == humidity) then
        call add(names, merge('state_ps  ', 'state_pmid', has_grid))
      else if (has_variable(file, name)) then
        call add(names, name)
      else
        error = error // ', ' // name
      end if
    end do
    if (len(error) > 0) then
      error = file%path // ': the package needs inputs that the file does not hold: ' // error(3:) &
              // '. A replay of single snapshots supplies what a file holds and ' // humidity // &
              '; inputs from earlier time steps or of the host''s own need a host that keeps them'
    else if (len(doubled) > 0) then
      error = file%path // ': a carried variable that the host also sets:' // doubled // &
              ': give it another name in the package'
    end if
  end subroutine find_inputs

  !> Reads this rank's columns of the named variables.
  subroutine read_fields(file, names, first, count, fields, error)
    type(climsim_file), intent(in) :: file
    character(len=*), intent(in) :: names(:)
    integer, intent(in) :: first
    integer, intent(in) :: count
    type(climsim_field), allocatable, intent(out) :: fields(:)
    character(len=:), allocatable, intent(out) :: error
    integer :: i

    error = ''
    allocate (fields(size(names)))
    do i = 1, size(names)
      call read_field(file, trim(names(i)), first, count, fields(i), error)
      if (len(error) > 0) return
    end do
  end subroutine read_fields

  !> Sends this rank's columns through the package in chunks and makes the fields of an mlo file.
  !! The lines before `get` run on every rank, also one without columns.
  subroutine run_step(emulator, carried, fields, hybrid, pcols, time_step, results, seconds, error)
    type(climlink_emulator), intent(inout) :: emulator
    type(climlink_carried), intent(inout) :: carried
    type(climsim_field), intent(in) :: fields(:)
    type(hybrid_midpoints), intent(in) :: hybrid   !! Not allocated if pressure is among the fields.
    integer, intent(in) :: pcols
    real(real64), intent(in) :: time_step          !! [s]
    type(climsim_field), allocatable, intent(out) :: results(:)
    type(step_seconds), intent(inout) :: seconds
    character(len=:), allocatable, intent(out) :: error
    type(climlink_status) :: status
    real(real64) :: start
    integer :: n_column

    error = ''
    n_column = size(fields(1)%values, 1)
    start = MPI_Wtime()
    call emulator%begin(n_column, status)
    if (status%ok()) call set_inputs(emulator, carried, fields, hybrid, n_column, pcols, status)
    if (status%ok() .and. carried%has_state()) call carried%send(emulator, status)
    call count_time(start, seconds%pack)
    if (status%ok()) call emulator%run(status)
    call count_time(start, seconds%forward)
    if (status%ok()) call get_results(emulator, fields, n_column, pcols, time_step, results, status)
    if (status%ok() .and. carried%has_state()) call carried%receive(emulator, status)
    call count_time(start, seconds%unpack)
    if (.not. status%ok()) error = status%message
  end subroutine run_step

  subroutine set_inputs(emulator, carried, fields, hybrid, n_column, pcols, status)
    type(climlink_emulator), intent(inout) :: emulator
    type(climlink_carried), intent(in) :: carried
    type(climsim_field), intent(in) :: fields(:)
    type(hybrid_midpoints), intent(in) :: hybrid
    integer, intent(in) :: n_column
    integer, intent(in) :: pcols
    type(climlink_status), intent(out) :: status
    type(climsim_field) :: field
    character(len=:), allocatable :: name
    integer :: i

    do i = 1, emulator%n_input()
      name = emulator%input_name(i)
      if (carried%owns(name)) cycle
      if (name == humidity) then
        field = humidity_field(fields, hybrid)
      else
        field = fields(field_index(fields, name))
        if (len(field%units) == 0) field%units = emulator%input_units(i)
      end if
      call set_chunks(emulator, field, n_column, pcols, status)
      if (.not. status%ok()) return
    end do
  end subroutine set_inputs

  !> One variable, chunk by chunk; the last chunk may be shorter.
  subroutine set_chunks(emulator, field, n_column, pcols, status)
    type(climlink_emulator), intent(inout) :: emulator
    type(climsim_field), intent(in) :: field
    integer, intent(in) :: n_column
    integer, intent(in) :: pcols
    type(climlink_status), intent(out) :: status
    integer :: first, last

    do first = 1, n_column, pcols
      last = min(first + pcols - 1, n_column)
      if (field%is_profile) then
        call emulator%set(field%name, field%values(first:last, :), first, status, units=field%units)
      else
        call emulator%set(field%name, field%values(first:last, 1), first, status, units=field%units)
      end if
      if (.not. status%ok()) return
    end do
  end subroutine set_chunks

  function humidity_field(fields, hybrid) result(field)
    type(climsim_field), intent(in) :: fields(:)
    type(hybrid_midpoints), intent(in) :: hybrid
    type(climsim_field) :: field
    real(real64), allocatable :: pressure(:, :)

    if (allocated(hybrid%hyam)) then
      associate (surface_pressure => fields(field_index(fields, 'state_ps'))%values(:, 1))
        pressure = pressure_at_midpoints(hybrid%p0, hybrid%hyam, hybrid%hybm, surface_pressure)
      end associate
    else
      pressure = fields(field_index(fields, 'state_pmid'))%values
    end if
    field%name = humidity
    field%units = '1'
    field%is_profile = .true.
    associate (temperature => fields(field_index(fields, 'state_t'))%values, &
               specific_humidity => fields(field_index(fields, 'state_q0001'))%values)
      allocate (field%values, source=relative_humidity(temperature, specific_humidity, pressure))
    end associate
  end function humidity_field

  !> The state after one time step, and the diagnostics.
  subroutine get_results(emulator, fields, n_column, pcols, time_step, results, status)
    type(climlink_emulator), intent(in) :: emulator
    type(climsim_field), intent(in) :: fields(:)
    integer, intent(in) :: n_column
    integer, intent(in) :: pcols
    real(real64), intent(in) :: time_step                            !! Of the replay [s].
    type(climsim_field), allocatable, intent(out) :: results(:)
    type(climlink_status), intent(out) :: status
    type(climsim_field) :: before
    integer :: i

    allocate (results(size(diagnostics) + size(prognostics)))
    do i = 1, size(diagnostics)
      results(i)%name = trim(diagnostics(i)%name)
      allocate (results(i)%values(n_column, 1))
      call get_chunks(emulator, diagnostics(i)%name, diagnostics(i)%units, pcols, results(i), &
                      status)
      if (.not. status%ok()) return
    end do
    do i = 1, size(prognostics)
      before = fields(field_index(fields, prognostics(i)%state))
      associate (after => results(size(diagnostics) + i))
        after%name = before%name
        after%is_profile = .true.
        allocate (after%values, mold=before%values)
        call get_chunks(emulator, prognostics(i)%tendency, prognostics(i)%tendency_units, pcols, &
                        after, status)
        if (.not. status%ok()) return
        after%values = before%values + time_step * after%values
      end associate
    end do
  end subroutine get_results

  !> Values of one output variable, chunk by chunk.
  subroutine get_chunks(emulator, name, units, pcols, field, status)
    type(climlink_emulator), intent(in) :: emulator
    character(len=*), intent(in) :: name
    character(len=*), intent(in) :: units
    integer, intent(in) :: pcols
    type(climsim_field), intent(inout) :: field
    type(climlink_status), intent(out) :: status
    integer :: first, last, n_column

    n_column = size(field%values, 1)
    do first = 1, n_column, pcols
      last = min(first + pcols - 1, n_column)
      if (field%is_profile) then
        call emulator%get(name, field%values(first:last, :), first, status, units=units)
      else
        call emulator%get(name, field%values(first:last, 1), first, status, units=units)
      end if
      if (.not. status%ok()) return
    end do
  end subroutine get_chunks

  subroutine add(names, name)
    character(len=name_length), allocatable, intent(inout) :: names(:)
    character(len=*), intent(in) :: name

    if (any(names == name)) return
    names = [names, [character(len=name_length) :: name]]
  end subroutine add

  !> Adds the time since start to a sum and starts anew.
  subroutine count_time(start, total)
    real(real64), intent(inout) :: start
    real(real64), intent(inout) :: total
    real(real64) :: now

    now = MPI_Wtime()
    total = total + now - start
    start = now
  end subroutine count_time

end module replay_coupling
