!> The post-processing of the existing coupling, in its order, for wrappers that were made for it.
!! It acts on the variables by name, so a confidence block is never touched. New packages have their
!! constraints in their graph and need none of this.
module mmf_nn_legacy
  use mmf_nn_fields, only: chunk_fields, constituent, fields_taken, n_taken, named_field
  use physconst, only: cpair, gravit
  use physics_types, only: physics_state
  use ppgrid, only: pver
  use shr_kind_mod, only: r8 => shr_kind_r8
  implicit none (type, external)
  private

  public :: legacy_counts, apply_legacy

  !> Levels from the top whose water and wind tendencies are dropped.
  integer, parameter :: n_dropped = 12
  real(r8), parameter :: lowest_tropopause = 40000.0_r8      !! [Pa]
  real(r8), parameter :: per_kilometre = 1000.0_r8

  !> What the post-processing did to each column of a chunk.
  type :: legacy_counts
    real(r8), allocatable :: clipped(:)               !! Surface fields that were negative.
    real(r8), allocatable :: limited(:)               !! Levels and fields that the limiter changed.
    real(r8), allocatable :: heat_source(:)           !! What the limiter added [W/m2].
    real(r8), allocatable :: water_source(:)          !! What the limiter added [kg/m2/s].
    real(r8), allocatable :: tropopause(:)            !! Level, 1 if none was found or looked for.
  end type legacy_counts

contains

  !> Changes the outputs of a chunk as the existing coupling would.
  subroutine apply_legacy(state, coszrs, time_step, with_stratosphere, threshold, outputs, counts)
    type(physics_state), intent(in) :: state
    real(r8), intent(in) :: coszrs(:)
    real(r8), intent(in) :: time_step              !! [s]
    logical, intent(in) :: with_stratosphere       !! Whether water is kept out of the stratosphere.
    real(r8), intent(in) :: threshold              !! Stability that makes a tropopause [K/km].
    type(chunk_fields), intent(inout), target :: outputs
    type(legacy_counts), intent(out) :: counts
    type(named_field) :: list(n_taken)
    integer :: i, n

    n = state%ncol
    allocate (counts%clipped(n), counts%limited(n), counts%heat_source(n), counts%water_source(n), &
              source=0.0_r8)
    allocate (counts%tropopause(n), source=1.0_r8)
    list = fields_taken(outputs)
    do i = 1, size(list)
      if (list(i)%is_profile) cycle
      counts%clipped = counts%clipped + merge(1.0_r8, 0.0_r8, list(i)%scalar < 0.0_r8)
      list(i)%scalar = max(list(i)%scalar, 0.0_r8)
    end do
    where (coszrs(:n) <= 0.0_r8)  ! at night there is no shortwave; longwave and precipitation stay
      outputs%netsw = 0.0_r8
      outputs%sols = 0.0_r8
      outputs%soll = 0.0_r8
      outputs%solsd = 0.0_r8
      outputs%solld = 0.0_r8
    end where
    if (with_stratosphere) call dry_stratosphere(state, time_step, threshold, outputs, &
                                                 counts%tropopause)
    call limit(state, time_step, outputs, counts)
    ! After the stratosphere, as there: in these levels its removal of cloud has no effect.
    outputs%vapor(:, :n_dropped) = 0.0_r8
    outputs%liquid(:, :n_dropped) = 0.0_r8
    outputs%ice(:, :n_dropped) = 0.0_r8
    outputs%u(:, :n_dropped) = 0.0_r8
    outputs%v(:, :n_dropped) = 0.0_r8
  end subroutine apply_legacy

  !> No change of vapour, and cloud removed within the step, from the top down to the tropopause.
  subroutine dry_stratosphere(state, time_step, threshold, outputs, tropopause)
    type(physics_state), intent(in) :: state
    real(r8), intent(in) :: time_step, threshold
    type(chunk_fields), intent(inout) :: outputs
    real(r8), intent(out) :: tropopause(:)
    integer :: i, k

    do i = 1, state%ncol
      k = tropopause_level(state%t(i, :) * state%exner(i, :), state%zm(i, :), state%pmid(i, :), &
                           threshold)
      tropopause(i) = real(k, r8)
      outputs%vapor(i, :k) = 0.0_r8
      outputs%liquid(i, :k) = -state%q(i, :k, constituent(2)) / time_step
      outputs%ice(i, :k) = -state%q(i, :k, constituent(3)) / time_step
    end do
  end subroutine dry_stratosphere

  !> The lowest level at or above 400 hPa where potential temperature grows faster with height than
  !! the threshold; 1 if none.
  pure function tropopause_level(theta, height, pressure, threshold) result(level)
    real(r8), intent(in) :: theta(:)                         !! [K]
    real(r8), intent(in) :: height(:)                        !! [m]
    real(r8), intent(in) :: pressure(:)                      !! [Pa]
    real(r8), intent(in) :: threshold                        !! [K/km]
    integer :: level
    integer :: k

    level = 1
    do k = 2, pver - 1
      if (pressure(k) > lowest_tropopause) cycle
      if ((theta(k - 1) - theta(k + 1)) / (height(k - 1) - height(k + 1)) * per_kilometre &
          > threshold) level = k
    end do
  end function tropopause_level

  !> No field may become negative within the step: energy, vapour, liquid, ice. What that adds is
  !! counted.
  subroutine limit(state, time_step, outputs, counts)
    type(physics_state), intent(in) :: state
    real(r8), intent(in) :: time_step
    type(chunk_fields), intent(inout) :: outputs
    type(legacy_counts), intent(inout) :: counts
    real(r8) :: heating(state%ncol, pver)
    integer :: n

    n = state%ncol
    heating = cpair * outputs%t
    call limit_field(state%s(:n, :), heating, counts%heat_source)
    where (abs(heating - cpair * outputs%t) > 0.0_r8) outputs%t = heating / cpair
    call limit_field(state%q(:n, :, constituent(1)), outputs%vapor, counts%water_source)
    call limit_field(state%q(:n, :, constituent(2)), outputs%liquid, counts%water_source)
    call limit_field(state%q(:n, :, constituent(3)), outputs%ice, counts%water_source)

  contains

    subroutine limit_field(field, rate, source)
      real(r8), intent(in) :: field(:, :)
      real(r8), intent(inout) :: rate(:, :)
      real(r8), intent(inout) :: source(:)
      real(r8) :: after
      integer :: i, k

      do k = 1, pver
        do i = 1, n
          after = field(i, k) + rate(i, k) * time_step
          if (after >= 0.0_r8) cycle
          rate(i, k) = rate(i, k) + abs(after) / time_step
          counts%limited(i) = counts%limited(i) + 1.0_r8
          source(i) = source(i) + abs(after) / time_step * state%pdel(i, k) / gravit
        end do
      end do
    end subroutine limit_field
  end subroutine limit

end module mmf_nn_legacy
