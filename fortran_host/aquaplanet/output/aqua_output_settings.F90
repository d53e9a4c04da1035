!> Settings of what a run writes.
module aqua_output_settings
  use host_namelists, only: namelist_group
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

  subroutine transfer(self, unit, writing, failed, message)
    class(output_settings), intent(inout), target :: self
    integer, intent(in) :: unit
    logical, intent(in) :: writing
    integer, intent(out) :: failed
    character(len=*), intent(inout) :: message
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
    if (writing) then
      write (unit, nml=output, iostat=failed, iomsg=message)
    else
      read (unit, nml=output, iostat=failed, iomsg=message)
    end if
  end subroutine transfer

end module aqua_output_settings
