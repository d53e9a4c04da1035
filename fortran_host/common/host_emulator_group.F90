!> The group /emulator/ among the groups of a host's namelist file.
module host_emulator_group
  use climlink_host_settings, only: climlink_emulator_settings
  use host_namelists, only: namelist_group
  implicit none (type, external)
  private

  public :: emulator_group

  type, extends(namelist_group) :: emulator_group
    type(climlink_emulator_settings) :: entries
  contains
    procedure :: transfer
  end type emulator_group

contains

  subroutine transfer(self, unit, writing, failed, message)
    class(emulator_group), intent(inout), target :: self
    integer, intent(in) :: unit
    logical, intent(in) :: writing
    integer, intent(out) :: failed
    character(len=*), intent(inout) :: message

    call self%entries%transfer_group(unit, writing, failed, message)
  end subroutine transfer

end module host_emulator_group
