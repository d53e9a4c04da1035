!> What the column physics is given and what it makes. Level 1 is the model top; one column at a
!! time.
module aqua_column_types
  use aqua_constants, only: r8
  implicit none (type, external)
  private

  public :: column_inputs, column_outputs, allocate_outputs

  !> The state before and what bounds it, of one column: profiles [level], the rest scalars.
  type :: column_inputs
    real(r8), allocatable :: t(:)               !! Temperature [K]
    real(r8), allocatable :: q(:), qc(:), qi(:)  !! Vapour, cloud liquid and cloud ice [kg/kg of
                                                 !! moist air]
    real(r8), allocatable :: u(:), v(:)         !! Wind [m/s]
    real(r8), allocatable :: p_mid(:)           !! Pressure at midpoints [Pa]
    real(r8), allocatable :: dp(:)              !! Thickness of layers [Pa]
    real(r8), allocatable :: p_int(:)           !! Pressure at interfaces [level + 1], Pa
    real(r8), allocatable :: ozone(:)           !! [kg/kg]
    real(r8), allocatable :: ch4(:), n2o(:)     !! [kg/kg]
    real(r8) :: ps = 0.0_r8                     !! Surface pressure [Pa]
    real(r8) :: solin = 0.0_r8                  !! Sunlight on a horizontal plane at the top [W/m2]
    real(r8) :: coszrs = 0.0_r8                 !! Cosine of the solar zenith angle
    real(r8) :: aldif = 1.0_r8, aldir = 1.0_r8  !! Near-infrared surface albedos, diffuse and direct
    real(r8) :: asdif = 1.0_r8, asdir = 1.0_r8  !! Visible surface albedos, diffuse and direct
    real(r8) :: lwup = 0.0_r8                   !! Longwave radiation upward from the surface [W/m2]
    real(r8) :: lhflx = 0.0_r8, shflx = 0.0_r8  !! Surface latent and sensible heat fluxes of the
                                                !! last step, upward [W/m2]
    real(r8) :: taux = 0.0_r8, tauy = 0.0_r8    !! Surface stress on the atmosphere, of the last
                                                !! step [N/m2]
  end type column_inputs

  !> What the reference physics makes of one column.
  type :: column_outputs
    real(r8), allocatable :: dtdt(:)             !! [level], K/s
    real(r8), allocatable :: dqdt(:), dqcdt(:), dqidt(:)  !! [level], kg/kg/s
    real(r8), allocatable :: dudt(:), dvdt(:)    !! [level], m/s2
    real(r8), allocatable :: cloud(:)            !! Cloud fraction [level]
    real(r8) :: netsw = 0.0_r8                   !! Sunlight absorbed by the surface [W/m2]
    real(r8) :: flwds = 0.0_r8                   !! Longwave radiation down at the surface [W/m2]
    real(r8) :: precsc = 0.0_r8                  !! Snow, as water [m/s]
    real(r8) :: precc = 0.0_r8                   !! All precipitation, snow included, as water [m/s]
    real(r8) :: sols = 0.0_r8, soll = 0.0_r8     !! Direct sunlight at the surface, visible and near
                                                 !! infrared [W/m2]
    real(r8) :: solsd = 0.0_r8, solld = 0.0_r8   !! Diffuse sunlight at the surface, visible and
                                                 !! near infrared [W/m2]
    real(r8) :: fsnt = 0.0_r8                    !! Net sunlight downward at the top [W/m2]
    real(r8) :: flut = 0.0_r8                    !! Longwave radiation upward at the top [W/m2]
    real(r8) :: flns = 0.0_r8                    !! Net longwave radiation upward at the surface
                                                 !! [W/m2]
    real(r8) :: precl = 0.0_r8                   !! Large-scale share of precc [m/s]
  end type column_outputs

contains

  !> Makes the profiles of what the physics returns, all zero.
  pure subroutine allocate_outputs(n_level, outputs)
    integer, intent(in) :: n_level
    type(column_outputs), intent(inout) :: outputs
    real(r8) :: zero(n_level)

    zero = 0.0_r8
    outputs = column_outputs(dtdt=zero, dqdt=zero, dqcdt=zero, dqidt=zero, dudt=zero, dvdt=zero, &
                             cloud=zero)
  end subroutine allocate_outputs

end module aqua_column_types
