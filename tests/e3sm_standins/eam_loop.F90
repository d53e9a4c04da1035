! A driver in the place of EAM's physics loop: eam_loop NAMELIST_FILE. Columns come from a file; the
! model's own physics and the dynamics are formulas that check_e3sm_adapter.py repeats. Everything
! of each step goes into one file per rank.
program eam_loop
  use mpi_f08, only: MPI_Barrier, MPI_CHARACTER, MPI_Comm_rank, MPI_Comm_size, MPI_COMM_WORLD, &
                     MPI_DOUBLE_PRECISION, MPI_Finalize, MPI_Init, MPI_INTEGER, MPI_LOGICAL
  use cam_control_mod, only: nsrest
  use cam_history, only: standin_open_history, standin_record
  use camsrfexch, only: cam_export, cam_in_t, cam_out_t, standin_alloc
  use check_energy, only: check_energy_gmean, standin_gmean_calls
  use constituents, only: pcnst
  use flux_avg, only: flux_avg_init, standin_flux_calls
  use loop_columns, only: fill_column, n_profile, n_scalar, state_nan, water
#ifdef CLIMLINK_FORK_HISTORY
  use loop_columns, only: shift_dynamics, shift_physics
#endif
  use mmf_nn_emulator, only: cb_spinup_step, init_neural_net, mmf_nn_emulator_begin, &
                             mmf_nn_emulator_end, mmf_nn_emulator_end_run1, mmf_nn_emulator_final, &
                             mmf_nn_emulator_readnl, mmf_nn_emulator_register, &
                             mmf_nn_emulator_run, mmf_nn_emulator_run1, neural_net, &
                             neural_net_all_chunks
  use mpishorthand, only: mpichar, mpicom, mpiint, mpilog, mpir8
  use phys_control, only: phys_do_flux_avg
  use phys_grid, only: get_gcol_p, get_ncols_p, get_rlat_p, standin_set_grid
  use physconst, only: cpair, gravit
  use physics_buffer, only: dtype_r8, pbuf_add_field, pbuf_get_chunk, pbuf_get_field, &
                            pbuf_get_index, pbuf_initialize, pbuf_read_restart, &
                            pbuf_write_restart, physics_buffer_desc
  use physics_types, only: physics_ptend, physics_ptend_init, physics_state, physics_state_alloc, &
                           physics_tend, physics_tend_alloc
  use physics_update_mod, only: physics_update
  use ppgrid, only: begchunk, endchunk, pcols, pver
  use ref_pres, only: pref_mid
  use shr_kind_mod, only: r8 => shr_kind_r8
  use spmd_utils, only: iam, masterproc, npes, spmd_comm => mpicom
  use time_manager, only: standin_dtime, standin_first_of_run, standin_is_restart, standin_nstep
  implicit none (type, external)

  character(len=*), parameter :: fluxes(4) = [character(len=5) :: 'LHFLX', 'SHFLX', 'TAUX', 'TAUY']
  character(len=*), parameter :: initial(4) = [character(len=9) :: 'TINI', 'QINI', 'CLDLIQINI', &
    'CLDICEINI']
  character(len=*), parameter :: gases(3) = [character(len=5) :: 'ozone', 'CH4', 'N2O']

  ! The driver's own settings.
  character(len=256) :: columns_file = ' ', folder_in = ' ', folder_out = ' ', record_file = ' ', &
                        entry = 'step'
  integer :: n_column = 0, n_chunk = 1, n_step = 1, first_step = 0, run_type = 0, dtime = 1200, &
             poison = 0
  real(r8) :: poison_value = -1.0_r8         ! negative: NaN
  logical :: averaged_fluxes = .true., call_register = .true., precipitation = .true.
  namelist /loop_nl/ columns_file, folder_in, folder_out, record_file, entry, n_column, n_chunk, &
    n_step, first_step, run_type, dtime, averaged_fluxes, call_register, poison, poison_value, &
    precipitation

  type(physics_state), allocatable :: state(:), aphys1(:)
#ifdef CLIMLINK_FORK_HISTORY
  type(physics_state), allocatable :: before(:)
#endif
  type(physics_tend), allocatable :: tend(:)
  type(cam_in_t), allocatable :: cam_in(:)
  type(cam_out_t), allocatable :: cam_out(:)
  type(physics_buffer_desc), pointer :: pbuf2d(:, :)
  real(r8), allocatable :: columns(:, :), coszrs(:, :), solin(:, :)
  character(len=256) :: atm_in
  integer :: c

  call start_mpi()
  call get_command_argument(1, atm_in)
  call read_settings()
  call read_columns()
  call standin_set_grid(columns(1, :), n_chunk)
  call mmf_nn_emulator_readnl(atm_in)
  call register()
  call pbuf_initialize(pbuf2d)
  call make_model()
  if (standin_is_restart) call read_restart()
  call init_neural_net()
  do c = 1, n_step
    call set_boundary()
#ifdef CLIMLINK_FORK_HISTORY
    before = state
#endif
    call step()
    call record_step()
    call dynamics()
    standin_nstep = standin_nstep + 1
  end do
  if (folder_out /= ' ') call write_restart()
  call mmf_nn_emulator_final()
  call MPI_Finalize()

contains

  subroutine start_mpi()
    call MPI_Init()
    call MPI_Comm_rank(MPI_COMM_WORLD, iam)
    call MPI_Comm_size(MPI_COMM_WORLD, npes)
    masterproc = iam == 0
    spmd_comm = MPI_COMM_WORLD%mpi_val
    mpicom = MPI_COMM_WORLD%mpi_val
    mpiint = MPI_INTEGER%mpi_val
    mpilog = MPI_LOGICAL%mpi_val
    mpir8 = MPI_DOUBLE_PRECISION%mpi_val
    mpichar = MPI_CHARACTER%mpi_val
  end subroutine start_mpi

  subroutine read_settings()
    integer :: unit
    character(len=8) :: rank

    open (newunit=unit, file=trim(atm_in), status='old', action='read')
    read (unit, nml=loop_nl)
    close (unit)
    nsrest = run_type
    standin_is_restart = run_type > 0
    standin_nstep = first_step
    standin_first_of_run = first_step
    standin_dtime = dtime
    write (rank, '(i0)') iam
    call standin_open_history(trim(record_file) // '.' // trim(rank))
  end subroutine read_settings

  subroutine read_columns()
    integer :: unit

    allocate (columns(n_scalar + n_profile * pver, n_column))
    open (newunit=unit, file=trim(columns_file), access='stream', status='old', action='read')
    read (unit) columns
    close (unit)
    pref_mid = columns(n_scalar + 9 * pver + 1:n_scalar + 10 * pver, 1)
  end subroutine read_columns

  subroutine register()
    integer :: i, at

    do i = 1, size(gases)
      call pbuf_add_field(trim(gases(i)), 'physpkg', dtype_r8, [pcols, pver], at)
    end do
    do i = 1, size(fluxes)
      if (averaged_fluxes) call pbuf_add_field(trim(fluxes(i)), 'physpkg', dtype_r8, [pcols], at)
    end do
    do i = 1, size(initial)
      call pbuf_add_field(trim(initial(i)), 'physpkg', dtype_r8, [pcols, pver], at)
    end do
    if (precipitation) call pbuf_add_field('PREC_DP', 'physpkg', dtype_r8, [pcols], at)
    call pbuf_add_field('SNOW_DP', 'physpkg', dtype_r8, [pcols], at)
    if (call_register) call mmf_nn_emulator_register()
  end subroutine register

  !> State of the first step, from the file.
  subroutine make_model()
    integer :: c, i

    allocate (state(begchunk:endchunk), aphys1(begchunk:endchunk), tend(begchunk:endchunk), &
              cam_in(begchunk:endchunk), cam_out(begchunk:endchunk))
    allocate (coszrs(pcols, begchunk:endchunk), solin(pcols, begchunk:endchunk), source=state_nan())
    do c = begchunk, endchunk
      call physics_state_alloc(state(c), c, pcols)
      call physics_tend_alloc(tend(c), pcols)
      call standin_alloc(cam_in(c), cam_out(c), c, get_ncols_p(c), pcols)
      state(c)%ncol = get_ncols_p(c)
      do i = 1, state(c)%ncol
        state(c)%lat(i) = get_rlat_p(c, i)
        call fill_column(state(c), i, columns(:, get_gcol_p(c, i)))
      end do
      aphys1(c) = state(c)
    end do
  end subroutine make_model

  !> What the surface and the sun do in this step.
  subroutine set_boundary()
    real(r8) :: factor
    integer :: c, i

    factor = 1.0_r8 + 0.01_r8 * standin_nstep
    do c = begchunk, endchunk
      do i = 1, state(c)%ncol
        call set_column(c, i, columns(:, get_gcol_p(c, i)), factor)
      end do
      tend(c)%dtdt = 0.0_r8
      tend(c)%dudt = 0.0_r8
      tend(c)%dvdt = 0.0_r8
    end do
  end subroutine set_boundary

  subroutine set_column(c, i, column, factor)
    integer, intent(in) :: c, i
    real(r8), intent(in) :: column(:), factor
    integer :: k

    do k = 1, size(gases)
      call put_profile(c, i, trim(gases(k)), &
                       column(n_scalar + (5 + k) * pver + 1:n_scalar + (6 + k) * pver))
    end do
    do k = 1, size(fluxes)
      if (averaged_fluxes) call put_scalar(c, i, trim(fluxes(k)), column(3 + k) * factor)
    end do
    coszrs(i, c) = column(8) * factor
    solin(i, c) = column(9) * factor
    cam_in(c)%aldif(i) = column(10)
    cam_in(c)%aldir(i) = column(11)
    cam_in(c)%asdif(i) = column(12)
    cam_in(c)%asdir(i) = column(13)
    cam_in(c)%lwup(i) = column(14) * factor
    cam_in(c)%icefrac(i) = column(15)
    cam_in(c)%landfrac(i) = column(16)
    cam_in(c)%ocnfrac(i) = column(17)
    cam_in(c)%snowhice(i) = column(18)
    cam_in(c)%snowhland(i) = column(19)
    ! A negative number means every column.
    if (poison < 0 .or. get_gcol_p(c, i) == poison) cam_in(c)%lwup(i) = &
      merge(state_nan(), poison_value, poison_value < 0.0_r8)
  end subroutine set_column

  subroutine put_profile(c, i, name, values)
    integer, intent(in) :: c, i
    character(len=*), intent(in) :: name
    real(r8), intent(in) :: values(:)
    type(physics_buffer_desc), pointer :: buffer(:)
    real(r8), pointer :: field(:, :)

    buffer => pbuf_get_chunk(pbuf2d, c)
    call pbuf_get_field(buffer, pbuf_get_index(name), field)
    field(i, :) = values
  end subroutine put_profile

  subroutine put_scalar(c, i, name, value)
    integer, intent(in) :: c, i
    character(len=*), intent(in) :: name
    real(r8), intent(in) :: value
    type(physics_buffer_desc), pointer :: buffer(:)
    real(r8), pointer :: field(:)

    buffer => pbuf_get_chunk(pbuf2d, c)
    call pbuf_get_field(buffer, pbuf_get_index(name), field)
    field(i) = value
  end subroutine put_scalar

  !> One physics step, by one of the ways a driver may call the adapter.
  subroutine step()
    logical :: run_model, run_emulator
    type(physics_ptend) :: ptend(begchunk:endchunk)
    integer :: c

    select case (entry)
    case ('step')
      call mmf_nn_emulator_begin(state, pbuf2d, coszrs, solin, run_model, run_emulator)
      if (run_emulator) call mmf_nn_emulator_run(state, tend, pbuf2d, cam_in, cam_out, coszrs, &
                                                 solin, real(dtime, r8))
      if (run_model) call model_physics()
      call mmf_nn_emulator_end(state, tend, pbuf2d, cam_in, cam_out, real(dtime, r8))
    case ('run1')
      call run1()
    case ('all')
      call neural_net_all_chunks(ptend, state, pbuf2d, cam_in, cam_out, coszrs, solin, &
                                 real(dtime, r8))
      do c = begchunk, endchunk
        call physics_update(state(c), ptend(c), real(dtime, r8), tend(c))
      end do
    case default
      if (standin_nstep < cb_spinup_step) then
        call model_physics()
        return
      end if
      !$omp parallel do
      do c = begchunk, endchunk
        call neural_net(ptend(c), state(c), aphys1(c), pbuf_get_chunk(pbuf2d, c), cam_in(c), &
                        cam_out(c), coszrs(:, c), solin(:, c), real(dtime, r8), c)
        call physics_update(state(c), ptend(c), real(dtime, r8), tend(c))
      end do
    end select
  end subroutine step

  !> phys_run1 of a model that has nothing but two calls of the emulator's, with what it does before
  !! the first of them.
  subroutine run1()
    type(physics_buffer_desc), pointer :: buffer(:)
    logical :: emulated
    integer :: c

    if (standin_nstep == 0 .and. phys_do_flux_avg()) call flux_avg_init(cam_in, pbuf2d)
    call check_energy_gmean(state, pbuf2d, real(dtime, r8), standin_nstep)
    call mmf_nn_emulator_run1(state, real(dtime, r8), tend, pbuf2d, cam_in, cam_out, emulated)
    if (emulated) return
    call model_physics()
    do c = begchunk, endchunk
      buffer => pbuf_get_chunk(pbuf2d, c)
      call cam_export(state(c), cam_out(c), buffer)
    end do
    call mmf_nn_emulator_end_run1(state, real(dtime, r8), tend, pbuf2d, cam_in, cam_out)
  end subroutine run1

  subroutine model_physics()
    type(physics_ptend) :: ptend
    logical :: lq(pcnst)
    integer :: c, i, n

    lq = .false.
    lq(water) = .true.
    do c = begchunk, endchunk
      n = state(c)%ncol
      call physics_ptend_init(ptend, pcols, 'model', ls=.true., lu=.true., lv=.true., lq=lq)
      ptend%s(:n, :) = cpair * (1e-5_r8 * (250.0_r8 - state(c)%t(:n, :)))
      do i = 1, 3
        ptend%q(:n, :, water(i)) = -1e-6_r8 * state(c)%q(:n, :, water(i))
      end do
      ptend%u(:n, :) = -1e-5_r8 * state(c)%u(:n, :)
      ptend%v(:n, :) = -2e-5_r8 * state(c)%v(:n, :)
      call physics_update(state(c), ptend, real(dtime, r8), tend(c))
      cam_out(c)%netsw(:n) = 100.0_r8
      cam_out(c)%flwds(:n) = 300.0_r8
      cam_out(c)%sols(:n) = 10.0_r8
      cam_out(c)%soll(:n) = 20.0_r8
      cam_out(c)%solsd(:n) = 30.0_r8
      cam_out(c)%solld(:n) = 40.0_r8
      do i = 1, n
        call put_scalar(c, i, 'PREC_DP', 1e-8_r8)
        call put_scalar(c, i, 'SNOW_DP', 1e-9_r8)
      end do
    end do
  end subroutine model_physics

  subroutine record_step()
    type(physics_buffer_desc), pointer :: buffer(:)
    real(r8), pointer :: rain(:), snow(:), profile(:, :)
    integer :: c, i, n

    do c = begchunk, endchunk
      n = state(c)%ncol
      buffer => pbuf_get_chunk(pbuf2d, c)
      call pbuf_get_field(buffer, pbuf_get_index('PREC_DP'), rain)
      call pbuf_get_field(buffer, pbuf_get_index('SNOW_DP'), snow)
      call standin_record('t', state(c)%t(:n, :), c)
      call standin_record('s', state(c)%s(:n, :), c)
      call standin_record('q1', state(c)%q(:n, :, 1), c)
      call standin_record('q2', state(c)%q(:n, :, 3), c)
      call standin_record('q3', state(c)%q(:n, :, 5), c)
      call standin_record('other', state(c)%q(:n, :, 2) + state(c)%q(:n, :, 4), c)
      call standin_record('u', state(c)%u(:n, :), c)
      call standin_record('v', state(c)%v(:n, :), c)
      call standin_record('dtdt', tend(c)%dtdt(:n, :), c)
      call standin_record('dudt', tend(c)%dudt(:n, :), c)
      call standin_record('calls', spread(real([standin_flux_calls, standin_gmean_calls], r8), 1, &
                                          n), c)
      call standin_record('precc', reshape(cam_out(c)%precc(:n), [n, 1]), c)
      do i = 1, size(initial)
        call pbuf_get_field(buffer, pbuf_get_index(trim(initial(i))), profile)
        call standin_record(trim(initial(i)), profile(:n, :), c)
      end do
      call standin_record('surface', &
                          reshape([cam_out(c)%netsw(:n), cam_out(c)%flwds(:n), snow(:n), rain(:n), &
                                   cam_out(c)%sols(:n), cam_out(c)%soll(:n), cam_out(c)%solsd(:n), &
                                   cam_out(c)%solld(:n)], [n, 8]), c)
    end do
  end subroutine record_step

  !> What the rest of the model does between two calls.
  subroutine dynamics()
    integer :: c, i, n

    do c = begchunk, endchunk
      n = state(c)%ncol
#ifdef CLIMLINK_FORK_HISTORY
      call shift_physics(state(c), before(c))
#endif
      aphys1(c) = state(c)
      state(c)%t(:n, :) = state(c)%t(:n, :) + 0.5_r8
      do i = 1, 3
        state(c)%q(:n, :, water(i)) = state(c)%q(:n, :, water(i)) * 1.001_r8
      end do
      state(c)%u(:n, :) = state(c)%u(:n, :) + 0.125_r8
      state(c)%v(:n, :) = state(c)%v(:n, :) - 0.25_r8
      state(c)%ps(:n) = state(c)%ps(:n) + 16.0_r8
      do i = 1, n
        state(c)%s(i, :) = cpair * state(c)%t(i, :) + gravit * state(c)%zm(i, :) + state(c)%phis(i)
      end do
#ifdef CLIMLINK_FORK_HISTORY
      call shift_dynamics(state(c), aphys1(c))
#endif
    end do
  end subroutine dynamics

  subroutine write_restart()
    integer :: c, i, unit

    call pbuf_write_restart(folder_out, pbuf2d)
    do c = begchunk, endchunk
      do i = 1, state(c)%ncol
        open (newunit=unit, file=state_file(folder_out, c, i), access='stream', status='replace')
        write (unit) state(c)%ps(i), state(c)%t(i, :), state(c)%s(i, :), state(c)%u(i, :), &
          state(c)%v(i, :), state(c)%q(i, :, :)
        close (unit)
      end do
    end do
  end subroutine write_restart

  subroutine read_restart()
    integer :: c, i, unit

    call pbuf_read_restart(folder_in, pbuf2d)
    do c = begchunk, endchunk
      do i = 1, state(c)%ncol
        open (newunit=unit, file=state_file(folder_in, c, i), access='stream', status='old')
        read (unit) state(c)%ps(i), state(c)%t(i, :), state(c)%s(i, :), state(c)%u(i, :), &
          state(c)%v(i, :), state(c)%q(i, :, :)
        close (unit)
      end do
    end do
    call MPI_Barrier(MPI_COMM_WORLD)
  end subroutine read_restart

  function state_file(folder, c, i) result(path)
    character(len=*), intent(in) :: folder
    integer, intent(in) :: c, i
    character(len=512) :: path

    write (path, '(2a,i0)') trim(folder), '/STATE.', get_gcol_p(c, i)
  end function state_file

end program eam_loop
