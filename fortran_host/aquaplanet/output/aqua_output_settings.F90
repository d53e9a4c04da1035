!> Settings of what a run writes.
module aqua_output_settings
  use host_namelists, only: namelist_group, namelist_unit
  implicit none (type, external)
  private

  public :: output_settings

  !> Group &output.
  type, extends(namelist_group) :: output_settings
    integer :: climsim_every_steps = 0                      !! Steps between mli/mlo pairs; 0: none.
    integer :: climsim_from_step = 1
    logical :: history_monthly = .true.
    logical :: history_daily = .true.
    logical :: history_hourly = .false.
    logical :: history_daily_instantaneous = .false.        !! Values at the end of each day, not
                                                            !! means over it.
  contains
    procedure :: transfer
  end type output_settings

contains

  subroutine transfer(self, file)
    class(output_settings), intent(inout), target :: self
    type(namelist_unit), intent(inout) :: file
    integer, pointer :: climsim_every_steps, climsim_from_step
    logical, pointer :: history_monthly, history_daily, history_hourly, &
      history_daily_instantaneous
    namelist /output/ climsim_every_steps, climsim_from_step, history_monthly, history_daily, &
      history_hourly, history_daily_instantaneous

    climsim_every_steps => self%climsim_every_steps
    climsim_from_step => self%climsim_from_step
    history_monthly => self%history_monthly
    history_daily => self%history_daily
    history_hourly => self%history_hourly
    history_daily_instantaneous => self%history_daily_instantaneous
    if (file%writing) then
      write (file%unit, nml=output, iostat=file%failed, iomsg=file%message)
    else
      read (file%unit, nml=output, iostat=file%failed, iomsg=file%message)
    end if
  end subroutine transfer

end module aqua_output_settings
