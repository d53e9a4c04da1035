!> Closes the water of the whole globe in each step, for references that do not close by column:
!! one factor for all precipitation of the emulator, so that its global mean is what the tendencies
!! take out of the air. The state is not touched. docs/closure.md says why.
module mmf_nn_water_fixer
  use mmf_nn_fields, only: chunk_fields
  use phys_gmean, only: gmean
  use physconst, only: gravit, rhoh2o
  use physics_types, only: physics_state
  use ppgrid, only: begchunk, endchunk, pcols
  use shr_kind_mod, only: r8 => shr_kind_r8
  implicit none (type, external)
  private

  public :: water_fix, fix_global_water

  !> Limits of the factor: beyond them the water of an emulator is wrong, and no fixer hides that.
  real(r8), parameter :: lowest = 0.5_r8, highest = 2.0_r8

  !> What was done in one step, in the global mean: the same on all ranks, whatever their number.
  type :: water_fix
    real(r8) :: factor = 1.0_r8
    real(r8) :: made = 0.0_r8                !! Column water tendency and precipitation [kg/m2/s].
    real(r8) :: added = 0.0_r8               !! Precipitation [kg/m2/s]; made + added is left over.
  end type water_fix

contains

  !> Multiplies precipitation and snowfall of all chunks by the factor. Collective.
  subroutine fix_global_water(state, outputs, added, fix)
    type(physics_state), intent(in) :: state(begchunk:)
    type(chunk_fields), intent(inout) :: outputs(begchunk:)
    real(r8), intent(out) :: added(:, begchunk:)             !! [pcols, chunk], kg/m2/s.
    type(water_fix), intent(out) :: fix
    integer, parameter :: tendency = 1, rain = 2
    real(r8), allocatable :: columns(:, :, :)                !! [pcols, chunk, which], kg/m2/s.
    real(r8) :: means(2)
    integer :: c, n

    allocate (columns(pcols, begchunk:endchunk, size(means)), source=0.0_r8)
    do c = begchunk, endchunk
      n = state(c)%ncol
      associate (water => outputs(c)%vapor + outputs(c)%liquid + outputs(c)%ice)
        columns(:n, c, tendency) = sum(water * state(c)%pdel(:n, :), dim=2) / gravit
      end associate
      columns(:n, c, rain) = rhoh2o * outputs(c)%precc
    end do
    call gmean(columns, means, size(means))
    fix%factor = factor_of(-means(tendency), means(rain))
    fix%made = sum(means)
    fix%added = (fix%factor - 1.0_r8) * means(rain)
    added = (fix%factor - 1.0_r8) * columns(:, :, rain)
    do c = begchunk, endchunk
      outputs(c)%precc = fix%factor * outputs(c)%precc
      outputs(c)%precsc = fix%factor * outputs(c)%precsc
    end do
  end subroutine fix_global_water

  !> What rain is multiplied by to be what was lost, within the limits; 1 where there is no rain.
  pure function factor_of(lost, rain) result(factor)
    real(r8), intent(in) :: lost, rain                       !! Global means in one unit.
    real(r8) :: factor

    ! The limits come first: the quotient may be larger than a number can be.
    if (rain <= 0.0_r8) then
      factor = 1.0_r8
    else if (lost <= lowest * rain) then
      factor = lowest
    else if (lost >= highest * rain) then
      factor = highest
    else
      factor = lost / rain
    end if
  end function factor_of

end module mmf_nn_water_fixer
