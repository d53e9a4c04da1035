!> The post-processing of the existing coupling, in its order, for wrappers that were made for it.
!! It acts on the variables by name, so a confidence block is never touched. New packages have their
!! constraints in their graph and need none of this.
module mmf_nn_legacy
  use mmf_nn_outputs, only: chunk_outputs, first_solar, netsw
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
  subroutine apply_legacy(state, liquid, ice, coszrs, time_step, with_stratosphere, threshold, &
                          outputs, counts)
    type(physics_state), intent(in) :: state
    integer, intent(in) :: liquid, ice             !! Constituents.
    real(r8), intent(in) :: coszrs(:)
    real(r8), intent(in) :: time_step              !! [s]
    logical, intent(in) :: with_stratosphere       !! Whether water is kept out of the stratosphere.
    real(r8), intent(in) :: threshold              !! Stability that makes a tropopause [K/km].
    type(chunk_outputs), intent(inout) :: outputs
    type(legacy_counts), intent(out) :: counts
    integer :: i, n

    n = state%ncol
    allocate (counts%clipped(n), counts%limited(n), counts%heat_source(n), counts%water_source(n), &
              source=0.0_r8)
    allocate (counts%tropopause(n), source=1.0_r8)
    counts%clipped = real(count(outputs%surface < 0.0_r8, dim=2), r8)
    outputs%surface = max(outputs%surface, 0.0_r8)
    do i = 1, n
      if (coszrs(i) <= 0.0_r8) call darken(outputs%surface(i, :))
    end do
    if (with_stratosphere) call dry_stratosphere(state, liquid, ice, time_step, threshold, &
                                                 outputs%tendency, counts%tropopause)
    call limit(state, liquid, ice, time_step, outputs%tendency, counts)
    ! After the stratosphere, as there: in these levels its removal of cloud has no effect.
    outputs%tendency(:, :n_dropped, 2:6) = 0.0_r8
  end subroutine apply_legacy

  !> At night there is no shortwave; longwave and precipitation stay.
  pure subroutine darken(surface)
    real(r8), intent(inout) :: surface(:)

    surface(netsw) = 0.0_r8
    surface(first_solar:) = 0.0_r8
  end subroutine darken

  !> No change of vapour, and cloud removed within the step, from the top down to the tropopause.
  subroutine dry_stratosphere(state, liquid, ice, time_step, threshold, tendency, tropopause)
    type(physics_state), intent(in) :: state
    integer, intent(in) :: liquid, ice
    real(r8), intent(in) :: time_step, threshold
    real(r8), intent(inout) :: tendency(:, :, :)
    real(r8), intent(out) :: tropopause(:)
    integer :: i, k

    do i = 1, state%ncol
      k = tropopause_level(state%t(i, :) * state%exner(i, :), state%zm(i, :), state%pmid(i, :), &
                           threshold)
      tropopause(i) = real(k, r8)
      tendency(i, :k, 2) = 0.0_r8
      tendency(i, :k, 3) = -state%q(i, :k, liquid) / time_step
      tendency(i, :k, 4) = -state%q(i, :k, ice) / time_step
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
  subroutine limit(state, liquid, ice, time_step, tendency, counts)
    type(physics_state), intent(in) :: state
    integer, intent(in) :: liquid, ice
    real(r8), intent(in) :: time_step
    real(r8), intent(inout) :: tendency(:, :, :)
    type(legacy_counts), intent(inout) :: counts
    real(r8) :: heating(state%ncol, pver)
    integer :: n

    n = state%ncol
    heating = cpair * tendency(:, :, 1)
    call limit_field(state%s(:n, :), heating, counts%heat_source)
    where (abs(heating - cpair * tendency(:, :, 1)) > 0.0_r8) tendency(:, :, 1) = heating / cpair
    call limit_field(state%q(:n, :, 1), tendency(:, :, 2), counts%water_source)
    call limit_field(state%q(:n, :, liquid), tendency(:, :, 3), counts%water_source)
    call limit_field(state%q(:n, :, ice), tendency(:, :, 4), counts%water_source)

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
