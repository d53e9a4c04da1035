!> Writes and reads the restart of a run: everything from which the model goes on as if it had not
!! stopped.
module aqua_checkpoint
  use host_calendar, only: stamp
  use aqua_constants, only: r8
  use aqua_hybrid, only: coupling_state
  use aqua_model, only: aquaplanet_model
  use aqua_output, only: model_output
  use aqua_restart, only: restart_file, restart_identity
  use netcdf_files, only: close_file, complete
  implicit none (type, external)
  private

  public :: checkpoint_path, write_checkpoint, read_checkpoint, read_history

  !> Names in the file; the state that a package carries means nothing to another one.
  character(len=*), parameter :: lags_name = 'coupling', carried_name = 'carried_state', &
                                 package_name = 'carried_state_of_sha256'

contains

  pure function identity_of(model) result(identity)
    type(aquaplanet_model), intent(in) :: model
    type(restart_identity) :: identity

    identity%configuration = trim(model%settings%run%identity)
    identity%truncation = model%grid%truncation
    identity%n_level = model%levels%n_level
  end function identity_of

  !> The file of the present step.
  function checkpoint_path(model) result(path)
    type(aquaplanet_model), intent(in) :: model
    character(len=:), allocatable :: path

    path = trim(model%settings%run%output_directory) // '/restart/' &
           // trim(model%settings%run%case_name) // '.r.' &
           // stamp(model%time(model%step_number)) // '.nc'
  end function checkpoint_path

  !> Rank 0 writes; coupling is the state of the coupling in the order of all columns, as
  !! hybrid%gather made it.
  subroutine write_checkpoint(path, model, output, coupling, error)
    character(len=*), intent(in) :: path
    type(aquaplanet_model), intent(in) :: model
    type(model_output), intent(in) :: output
    type(coupling_state), intent(in) :: coupling
    character(len=:), allocatable, intent(out) :: error
    type(restart_file) :: file
    integer :: i

    call file%create(path, identity_of(model), error)
    if (len(error) > 0) return
    call file%put('step', model%step_number, error)
    call file%put('dynamics', model%core%packed_state(), error)
    call file%put('tracers', model%tracers, error)
    associate (host => model%worker%host)
      call file%put('surface_fluxes', transpose(reshape( &
        [host%lhflx, host%shflx, host%taux, host%tauy], [host%n_column, 4])), error)
    end associate
    call file%put('energy', model%energy, error)
    if (allocated(coupling%lags)) call file%put(lags_name, coupling%lags, error)
    if (allocated(coupling%carried)) then
      call file%put(carried_name, coupling%carried, error)
      call file%put(package_name, model%hybrid%emulator%digest(), error)
    end if
    do i = 1, size(output%streams)
      call file%put(stream_name(i), output%streams(i)%packed_state(), error)
    end do
    call complete(file, error)
  end subroutine write_checkpoint

  pure function stream_name(i) result(name)
    integer, intent(in) :: i
    character(len=10) :: name

    write (name, '("history_h",i1)') i - 1
  end function stream_name

  !> Every rank reads. The history of the run is taken up by read_history once the output is open.
  subroutine read_checkpoint(path, model, coupling, error)
    character(len=*), intent(in) :: path
    type(aquaplanet_model), intent(inout) :: model
    type(coupling_state), intent(out) :: coupling              !! As written, as far as it fits.
    character(len=:), allocatable, intent(out) :: error
    type(restart_file) :: file
    real(r8), allocatable :: state(:)

    call file%open(path, identity_of(model), error)
    if (len(error) > 0) return
    state = model%core%packed_state()
    call file%get('step', model%step_number, error)
    call file%get('dynamics', state, error)
    call file%get('tracers', model%tracers, error)
    call read_fluxes(file, model, error)
    call file%get('energy', model%energy, error)
    call read_coupling(file, path, model, coupling, error)
    call close_file(file)
    if (len(error) == 0) call model%core%unpack_state(state)
  end subroutine read_checkpoint

  subroutine read_fluxes(file, model, error)
    type(restart_file), intent(inout) :: file
    type(aquaplanet_model), intent(inout) :: model
    character(len=:), allocatable, intent(inout) :: error
    real(r8) :: fluxes(4, model%grid%n_column)

    call file%get('surface_fluxes', fluxes, error)
    associate (host => model%worker%host)
      host%lhflx = fluxes(1, :)
      host%shflx = fluxes(2, :)
      host%taux = fluxes(3, :)
      host%tauy = fluxes(4, :)
    end associate
  end subroutine read_fluxes

  !> A run that branches off from one without lagged inputs, or with another package, begins with an
  !! empty memory; lags not allocated, carried not allocated say so.
  subroutine read_coupling(file, path, model, coupling, error)
    type(restart_file), intent(inout) :: file
    character(len=*), intent(in) :: path
    type(aquaplanet_model), intent(in) :: model
    type(coupling_state), intent(inout) :: coupling
    character(len=:), allocatable, intent(inout) :: error
    character(len=:), allocatable :: package
    character(len=12) :: text
    integer :: n_column, spun_up

    n_column = model%grid%n_column
    associate (hybrid => model%hybrid)
      spun_up = model%step_number + hybrid%lags%steps_needed()
      if (len(error) == 0 .and. hybrid%has_lags) then
        if (file%length(lags_name) > 0) then
          allocate (coupling%lags(hybrid%lags%state_size(), n_column))
          call file%get(lags_name, coupling%lags, error)
        else if (spun_up > model%settings%emulator%entries%spin_up_steps) then
          write (text, '(i0)') spun_up
          error = path // ': the emulator needs steps of history, and this restart has none: ' // &
                  'set spin_up_steps to ' // trim(text) // ' or more in /emulator/'
        end if
      end if
      if (len(error) > 0 .or. .not. hybrid%carried%has_state() .or. &
          file%length(carried_name) == 0) return
      call file%get(package_name, package, error)
      if (len(error) > 0 .or. package /= hybrid%emulator%digest()) return
      allocate (coupling%carried(hybrid%carried%state_size(), n_column))
      call file%get(carried_name, coupling%carried, error)
    end associate
  end subroutine read_coupling

  !> Takes up the history where the run left it. A restart of another run's folder is where this run
  !! branches off: its history begins here.
  subroutine read_history(path, model, output, error)
    character(len=*), intent(in) :: path
    type(aquaplanet_model), intent(in) :: model
    type(model_output), intent(inout) :: output
    character(len=:), allocatable, intent(out) :: error
    type(restart_file) :: file
    real(r8), allocatable :: state(:)
    integer :: i

    error = ''
    if (.not. output%goes_on) return
    call file%open(path, identity_of(model), error)
    do i = 1, size(output%streams)
      if (len(error) > 0) exit
      if (.not. output%streams(i)%is_active .or. file%length(stream_name(i)) == 0) cycle
      state = output%streams(i)%packed_state()
      call file%get(stream_name(i), state, error)
      if (len(error) == 0) call output%streams(i)%unpack_state(state, error)
    end do
    call close_file(file)
  end subroutine read_history

end module aqua_checkpoint
