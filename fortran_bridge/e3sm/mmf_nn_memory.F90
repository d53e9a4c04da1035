!> When coupling began, and what lagged inputs need of earlier steps: kept per rank, and in E3SM's
!! restart files as two fields of the physics buffer with global persistence.
!!
!! A branch run reads the restart files of another case, and E3SM stops where a field of the buffer
!! is not in them. So a branch run has no fields unless the namelist says that those files hold them
!! (climlink_branch_memory): without, it counts spin-up from its first step, and cannot be
!! continued. A hybrid run begins spin-up too, and can be continued.
module mmf_nn_memory
  use, intrinsic :: ieee_arithmetic, only: ieee_is_finite
  use cam_control_mod, only: nsrest
  use climlink, only: climlink_emulator, climlink_host_fields, climlink_status
  use climlink_lagged_memory, only: climlink_lags
  use mmf_nn_errors, only: share_integers, stop_if_failed, stop_together
  use mmf_nn_fields, only: add_inputs
  use mmf_nn_settings, only: climlink_branch_memory
  use phys_grid, only: get_ncols_p
  use physics_buffer, only: dtype_r8, pbuf_add_field, pbuf_get_chunk, pbuf_get_field, &
                            physics_buffer_desc
  use physics_types, only: physics_state
  use ppgrid, only: begchunk, endchunk, pcols, pver
  use shr_kind_mod, only: r8 => shr_kind_r8
  use time_manager, only: get_nstep, get_step_size, is_first_step
  implicit none (type, external)
  private

  public :: lags, has_lags, first_of_chunk, n_column_of_rank, coupling_step, registered
  public :: register_memory, initialize_memory, begin_memory_step, end_memory_step, keep_memory

  integer, parameter :: branch_run = 3                       !! Value of nsrest.

  type(climlink_lags), target :: lags
  logical, protected :: has_lags = .false.             !! Whether the package has lagged inputs.
  integer, allocatable, protected :: first_of_chunk(:)  !! Position of each chunk's first column in
                                                        !! the rank.
  integer, protected :: n_column_of_rank = 0
  logical, protected :: registered = .false.           !! Whether the driver called register_memory.
  logical :: start_known = .false.
  integer :: start = 0                                 !! Model step in which spin-up began.
  integer :: start_index = 0
  integer :: lags_index = 0

contains

  !> Adds the fields to the physics buffer.
  subroutine register_memory(emulator)
    type(climlink_emulator), intent(in) :: emulator          !! Open.
    type(climlink_lags) :: sample
    type(climlink_status) :: status

    registered = .true.
    if (begins_anew()) return
    call pbuf_add_field('NN_START', 'global', dtype_r8, [pcols], start_index)
    call sample%initialize(0, pver, real(get_step_size(), r8), status)
    call stop_if_failed(status, '')
    if (sample%serves(emulator)) then
      call pbuf_add_field('NN_LAGS', 'global', dtype_r8, [pcols, sample%state_size()], lags_index)
    end if
  end subroutine register_memory

  !> Whether this is a branch run that takes nothing of the emulator from its files.
  function begins_anew() result(yes)
    logical :: yes

    yes = nsrest == branch_run .and. .not. climlink_branch_memory
  end function begins_anew

  !> Counts the columns of the rank and makes the empty memory.
  subroutine initialize_memory(emulator)
    type(climlink_emulator), intent(in) :: emulator          !! Open.
    type(climlink_status) :: status
    integer :: c

    allocate (first_of_chunk(begchunk:endchunk))
    n_column_of_rank = 0
    do c = begchunk, endchunk
      first_of_chunk(c) = n_column_of_rank + 1
      n_column_of_rank = n_column_of_rank + get_ncols_p(c)
    end do
    call lags%initialize(n_column_of_rank, pver, real(get_step_size(), r8), status)
    call stop_if_failed(status, '')
    has_lags = lags%serves(emulator)
  end subroutine initialize_memory

  !> Number of this step for spin-up and ramps, from 1.
  function coupling_step() result(step)
    integer :: step

    step = get_nstep() - start + 1
  end function coupling_step

  !> Starts a step with the state before the physics. In the first step of a run, takes up what the
  !! restart files hold.
  subroutine begin_memory_step(state, pbuf2d, coszrs, solin)
    type(physics_state), intent(in), target :: state(begchunk:)
    type(physics_buffer_desc), pointer, intent(in) :: pbuf2d(:, :)
    real(r8), intent(in), target :: coszrs(:, begchunk:)             !! [pcols, chunk]
    real(r8), intent(in), target :: solin(:, begchunk:)              !! [pcols, chunk], W/m2
    type(climlink_host_fields) :: tables(begchunk:endchunk)
    type(climlink_status) :: status
    integer :: c

    if (.not. registered) call stop_together( &
      'mmf_nn_emulator_register was not called: call it in phys_register')
    if (.not. start_known) call recall_memory(pbuf2d)
    if (.not. has_lags) return
    do c = begchunk, endchunk
      call tables(c)%begin(state(c)%ncol)
      call add_inputs(tables(c), state(c), pbuf_get_chunk(pbuf2d, c), coszrs=coszrs(:, c), &
                      solin=solin(:, c))
    end do
    call lags%begin_step(tables, status)
    call stop_if_failed(status, '')
  end subroutine begin_memory_step

  !> Ends a step with the state after the physics, whoever ran, and keeps all that a restart needs.
  subroutine end_memory_step(state, pbuf2d)
    type(physics_state), intent(in), target :: state(begchunk:)
    type(physics_buffer_desc), pointer, intent(in) :: pbuf2d(:, :)
    type(climlink_host_fields) :: tables(begchunk:endchunk)
    type(climlink_status) :: status
    integer :: c

    if (has_lags) then
      do c = begchunk, endchunk
        call tables(c)%begin(state(c)%ncol)
        call add_inputs(tables(c), state(c))
      end do
      call lags%end_step(tables, status)
      call stop_if_failed(status, '')
    end if
    call keep_memory(pbuf2d)
  end subroutine end_memory_step

  !> Writes the memory into the fields of the physics buffer.
  subroutine keep_memory(pbuf2d)
    type(physics_buffer_desc), pointer, intent(in) :: pbuf2d(:, :)
    type(physics_buffer_desc), pointer :: buffer(:)
    real(r8), pointer :: steps(:), columns(:, :)
    real(r8), allocatable :: packed(:, :)
    type(climlink_status) :: status
    integer :: c, n

    if (start_index < 1) return
    if (has_lags) then
      allocate (packed(lags%state_size(), n_column_of_rank))
      call lags%pack_state(packed, status)
      call stop_if_failed(status, '')
    end if
    do c = begchunk, endchunk
      buffer => pbuf_get_chunk(pbuf2d, c)
      call pbuf_get_field(buffer, start_index, steps)
      steps = real(start + 1, r8)  ! from 1, so that a field nobody wrote is told from one of step 0
      if (.not. has_lags) cycle
      n = get_ncols_p(c)
      call pbuf_get_field(buffer, lags_index, columns)
      columns = 0.0_r8
      columns(:n, :) = transpose(packed(:, first_of_chunk(c):first_of_chunk(c) + n - 1))
    end do
  end subroutine keep_memory

  !> In the first step of a run: when did spin-up begin, and what do the restart files hold of the
  !! lagged inputs.
  subroutine recall_memory(pbuf2d)
    type(physics_buffer_desc), pointer, intent(in) :: pbuf2d(:, :)
    integer :: found(1)

    start = get_nstep()
    start_known = .true.
    if (is_first_step() .or. begins_anew()) return
    found = start_in_buffer(pbuf2d)
    call share_integers(found)
    if (found(1) < 0) then
      call stop_together('this run continues a case, but its restart files hold no memory of ' // &
                         'the emulator (NN_START): go on from restart files of a run with ' // &
                         'this adapter, or begin a hybrid or branch run from them')
    end if
    start = found(1)
    if (has_lags) call recall_lags(pbuf2d)
  end subroutine recall_memory

  !> The step in which spin-up began, or -1 if the field holds no such number.
  function start_in_buffer(pbuf2d) result(step)
    type(physics_buffer_desc), pointer, intent(in) :: pbuf2d(:, :)
    integer :: step
    type(physics_buffer_desc), pointer :: buffer(:)
    real(r8), pointer :: steps(:)
    integer :: c, n

    step = -1
    do c = begchunk, endchunk
      n = get_ncols_p(c)
      if (n == 0) cycle
      buffer => pbuf_get_chunk(pbuf2d, c)
      call pbuf_get_field(buffer, start_index, steps)
      ! To compare a NaN would end a model that traps invalid operations.
      if (.not. all(ieee_is_finite(steps(:n)))) return
      if (minval(steps(:n)) >= 1.0_r8 .and. maxval(steps(:n)) <= real(get_nstep() + 1, r8)) step = &
        nint(steps(1)) - 1
      if (step < 0) return
    end do
  end function start_in_buffer

  subroutine recall_lags(pbuf2d)
    type(physics_buffer_desc), pointer, intent(in) :: pbuf2d(:, :)
    type(physics_buffer_desc), pointer :: buffer(:)
    real(r8), pointer :: columns(:, :)
    real(r8), allocatable :: packed(:, :)
    type(climlink_status) :: status
    integer :: c, n

    allocate (packed(lags%state_size(), n_column_of_rank))
    do c = begchunk, endchunk
      n = get_ncols_p(c)
      buffer => pbuf_get_chunk(pbuf2d, c)
      call pbuf_get_field(buffer, lags_index, columns)
      packed(:, first_of_chunk(c):first_of_chunk(c) + n - 1) = transpose(columns(:n, :))
    end do
    call lags%unpack_state(packed, status)
    call stop_if_failed(status, 'restart files (NN_LAGS): ')
  end subroutine recall_lags

end module mmf_nn_memory
