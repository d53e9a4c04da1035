!> Settings of the dynamics.
module aqua_dynamics_settings
  use aqua_constants, only: r8
  use host_namelists, only: namelist_group, namelist_unit
  implicit none (type, external)
  private

  public :: dynamics_settings

  !> Group &dynamics.
  type, extends(namelist_group) :: dynamics_settings
    real(r8) :: time_step_s = 1200.0_r8         !! Of the run; no entry of the group.
    integer :: diffusion_order = 8              !! Power of the gradient: 4 or 8.
    real(r8) :: diffusion_time_d = 3.0_r8       !! e-folding time of the smallest wave [day]
    real(r8) :: diffusion_top_time_d = 1.0_r8   !! The same on the top level [day]
    real(r8) :: diffusion_top_pa = 1.0e4_r8     !! Where the one begins to grow to the other [Pa]
    logical :: diffusion_zonal_mean = .false.   !! Whether the zonal mean is diffused as waves are.
    real(r8) :: vertical_noise_time_d = 0.25_r8 !! e-folding time of winds that alternate from level
                                                !! to level [day]; 0: no filter
    real(r8) :: sponge_top_pa = 100.0_r8        !! Drag on winds at lower pressure than this [Pa]
    real(r8) :: sponge_time_d = 0.5_r8          !! e-folding time of the drag on the top level [day]
    real(r8) :: reference_temperature_k = 300.0_r8  !! Of the semi-implicit terms; no colder than
                                                    !! the atmosphere.
    real(r8) :: filter_nu = 0.1_r8              !! Strength of the time filter.
    real(r8) :: filter_alpha = 0.53_r8          !! Share of it that acts on the middle time level; 1
                                                !! is Robert and Asselin's.
  contains
    procedure :: transfer, problem
  end type dynamics_settings

contains

  subroutine transfer(self, file)
    class(dynamics_settings), intent(inout), target :: self
    type(namelist_unit), intent(inout) :: file
    integer, pointer :: diffusion_order
    logical, pointer :: diffusion_zonal_mean
    real(r8), pointer :: diffusion_time_d, diffusion_top_time_d, diffusion_top_pa, &
      vertical_noise_time_d, sponge_top_pa, sponge_time_d, reference_temperature_k, filter_nu, &
      filter_alpha
    namelist /dynamics/ diffusion_order, diffusion_time_d, diffusion_top_time_d, &
      diffusion_top_pa, diffusion_zonal_mean, vertical_noise_time_d, sponge_top_pa, &
      sponge_time_d, reference_temperature_k, filter_nu, filter_alpha

    diffusion_order => self%diffusion_order
    diffusion_time_d => self%diffusion_time_d
    diffusion_top_time_d => self%diffusion_top_time_d
    diffusion_top_pa => self%diffusion_top_pa
    diffusion_zonal_mean => self%diffusion_zonal_mean
    vertical_noise_time_d => self%vertical_noise_time_d
    sponge_top_pa => self%sponge_top_pa
    sponge_time_d => self%sponge_time_d
    reference_temperature_k => self%reference_temperature_k
    filter_nu => self%filter_nu
    filter_alpha => self%filter_alpha
    if (file%writing) then
      write (file%unit, nml=dynamics, iostat=file%failed, iomsg=file%message)
    else
      read (file%unit, nml=dynamics, iostat=file%failed, iomsg=file%message)
    end if
  end subroutine transfer

  !> '' if the settings make sense; else what is wrong.
  pure function problem(self) result(error)
    class(dynamics_settings), intent(in) :: self
    character(len=:), allocatable :: error

    error = ''
    if (self%diffusion_order < 2 .or. modulo(self%diffusion_order, 2) /= 0) then
      error = '/dynamics/ diffusion_order must be even'
    else if (.not. (self%diffusion_top_time_d > 0.0_r8 .and. self%diffusion_top_pa > 0.0_r8)) then
      error = '/dynamics/ diffusion_top_time_d and diffusion_top_pa must be positive'
    else if (self%vertical_noise_time_d < 0.0_r8) then
      error = '/dynamics/ vertical_noise_time_d must be 0 or more'
    else if (.not. (self%time_step_s > 0.0_r8 .and. self%diffusion_time_d > 0.0_r8 &
                    .and. self%sponge_time_d > 0.0_r8 &
                    .and. self%reference_temperature_k > 0.0_r8)) then
      error = '/dynamics/ times and temperatures must be positive'
    else if (self%filter_nu < 0.0_r8 .or. abs(self%filter_alpha - 0.75_r8) > 0.25_r8) then
      error = '/dynamics/ filter_nu must be 0 or more and filter_alpha between 0.5 and 1'
    end if
  end function problem

end module aqua_dynamics_settings
