!> Parameters of the reference physics.
module aqua_physics_settings
  use aqua_constants, only: r8
  use host_namelists, only: namelist_group, namelist_unit
  implicit none (type, external)
  private

  public :: physics_parameters

  !> Group &physics. The defaults were chosen for the climate of docs/embedded_model.md at T10.
  type, extends(namelist_group) :: physics_parameters
    real(r8) :: co2_ppm = 367.0_r8            !! Carbon dioxide by volume.
    real(r8) :: convection_time_s = 7200.0_r8  !! Relaxation time of the convection scheme.
    real(r8) :: convection_humidity = 0.8_r8  !! Relative humidity that convection relaxes to.
    real(r8) :: detrained_fraction = 0.3_r8   !! Share of the condensate of deep convection that
                                              !! stays as cloud.
    real(r8) :: convective_momentum = 0.7_r8  !! Mixing of wind in convecting layers, relative to
                                              !! that of moist air.
    real(r8) :: critical_humidity = 0.76_r8   !! Relative humidity of a layer at which cloud begins.
    real(r8) :: rain_time_s = 7200.0_r8       !! Conversion time of dense liquid cloud to rain.
    real(r8) :: rain_threshold = 3.0e-4_r8    !! Liquid within cloud at which rain becomes efficient
                                              !! [kg/kg].
    real(r8) :: ice_fall_speed = 0.9_r8       !! Of cloud ice of 1e-3 kg/m3 within cloud [m/s].
    real(r8) :: rain_evaporation = 1.0_r8     !! Factor on the evaporation of falling precipitation.
    real(r8) :: liquid_radius_um = 12.0_r8    !! Effective radius of cloud droplets.
    real(r8) :: ice_radius_um = 35.0_r8       !! Effective radius of ice crystals.
    ! How radiation sees cloud: fitted by benchmarks/fit_cloud.py.
    real(r8) :: cloud_content = 1.06e-4_r8    !! Condensate within cloud where saturation is 1 g/kg
                                              !! [kg/kg].
    real(r8) :: cloud_content_power = 0.377_r8  !! Of saturation, by which that grows.
    real(r8) :: cloud_uniformity = 0.915_r8   !! Factor on cloud water for unresolved variability.
    real(r8) :: sst_warming_k = 0.0_r8        !! Added to the temperature of the sea everywhere.
  contains
    procedure :: transfer
  end type physics_parameters

contains

  subroutine transfer(self, file)
    class(physics_parameters), intent(inout), target :: self
    type(namelist_unit), intent(inout) :: file
    real(r8), pointer :: co2_ppm, convection_time_s, convection_humidity, detrained_fraction, &
      convective_momentum, critical_humidity, rain_time_s, rain_threshold, ice_fall_speed, &
      rain_evaporation, liquid_radius_um, ice_radius_um, cloud_content, cloud_content_power, &
      cloud_uniformity, sst_warming_k
    namelist /physics/ co2_ppm, convection_time_s, convection_humidity, detrained_fraction, &
      convective_momentum, critical_humidity, rain_time_s, rain_threshold, ice_fall_speed, &
      rain_evaporation, liquid_radius_um, ice_radius_um, cloud_content, cloud_content_power, &
      cloud_uniformity, sst_warming_k

    co2_ppm => self%co2_ppm
    convection_time_s => self%convection_time_s
    convection_humidity => self%convection_humidity
    detrained_fraction => self%detrained_fraction
    convective_momentum => self%convective_momentum
    critical_humidity => self%critical_humidity
    rain_time_s => self%rain_time_s
    rain_threshold => self%rain_threshold
    ice_fall_speed => self%ice_fall_speed
    rain_evaporation => self%rain_evaporation
    liquid_radius_um => self%liquid_radius_um
    ice_radius_um => self%ice_radius_um
    cloud_content => self%cloud_content
    cloud_content_power => self%cloud_content_power
    cloud_uniformity => self%cloud_uniformity
    sst_warming_k => self%sst_warming_k
    if (file%writing) then
      write (file%unit, nml=physics, iostat=file%failed, iomsg=file%message)
    else
      read (file%unit, nml=physics, iostat=file%failed, iomsg=file%message)
    end if
  end subroutine transfer

end module aqua_physics_settings
